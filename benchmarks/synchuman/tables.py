"""The report, for people."""

from typing import Any


def tell(report: dict[str, Any]) -> None:
    """Prints the report's tables."""
    print(f"{report['size']} size, torso {report['torso']}, torch {report['torch']}")
    for mode, rows in report["counted"].items():
        print(f"\ncounted MiB, {mode:<40}{'peak':>9}{'weights':>9}{'sum':>9}{'stage':>9}{'all':>9}{'TFLOP':>9}")
        for name, row in rows.items():
            sums = "".join(f"{row[f'{kind}_mib']:>9,.0f}" for kind in ("sum", "stage_sum", "all_sum"))
            print(f"{name:<53}{row['peak_mib']:>9,.0f}{row['weights_mib']:>9,.0f}{sums}{row['tflop']:>9,.1f}")
    print("\nstage: with the weights of all networks of the same stage; all: of both stages")
    print(
        f"the largest is {report['largest_mib'] / 1024:.1f} GiB, aim < {report['limit_mib'] / 1024:.0f} GiB; ", end=""
    )
    print("the documents that SyncHuman's users know say 40-46 GB")
    print(f"with the networks of both stages left there: {report['all_mib'] / 1024:.1f} GiB")
    needed = report["first_stage_tflop"]
    print(f"the first stage's {needed:,.1f} TFLOP take {needed / 790:.2f} s at 790 TFLOP/s")
    ratios = report["count_ratios"].values()
    print(f"counted over what tensors with numbers took: {min(ratios):.3f} to {max(ratios):.3f}")
    if "measured" in report:
        _measured(report["measured"])
    print("all checks passed" if report["sound"] else "SOME CHECKS FAILED")


def _measured(told: dict[str, Any]) -> None:
    rates = ", ".join(f"{name} {rate:.3g} TFLOP/s" for name, rate in told["tflops_measured"].items())
    print(f"\n{told['device']}, steps {told['steps']}; matrix products reach {rates}")
    heads = ("s", "step s", "floor s", "ratio", "H200 s", "MiB", "/counted")
    print(f"{'measured':<53}" + "".join(f"{head:>9}" for head in heads))
    for name, row in told["stages"].items():
        kinds = ("s", "step_s", "floor_s", "ratio", "floor_h200_s", "peak_mib", "peak_over_counted")
        print(f"{name:<53}" + "".join(_figure(row[kind]) for kind in kinds))
    print(f"first stage {told['first_stage_s']:.2f} s, floor {told['first_stage_floor_s']:.2f} s")
    print(f"guidance in one batch and with one branch after the other: {told['disagreement']:.1e} apart")
    for stage, wrong in told["wrong"].items():
        print(f"{stage}: {wrong}")


def _figure(value: float | None) -> str:
    return f"{'–' if value is None else f'{value:,.3g}' if value < 1000 else f'{value:,.0f}':>9}"
