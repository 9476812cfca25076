"""The report, for people."""

from typing import Any


def tell(report: dict[str, Any]) -> None:
    """Prints the report's tables."""
    rates = ", ".join(f"{name} {rate:.3g} TFLOP/s" for name, rate in report["tflops_measured"].items())
    print(f"{report['device']}, {report['size']} size, torso {report['torso']}, torch {report['torch']}")
    print(f"{report['voxels']:,} voxels, {report['coarse_voxels']:,} coarse; matrix products reach {rates}")
    if report["stages"]:
        _stages(report["stages"])
        _sampling(report["sampling"])
        _memory(report)
    if report["savings"]:
        _savings(report["savings"], report["savings_blocks"])
    print("all checks passed" if report["sound"] else "SOME CHECKS FAILED")


def _stages(rows: dict[str, Any]) -> None:
    print(f"\n{'stage':<30}{'s':>10}{'peak MiB':>10}{'TFLOP':>10}{'floor s':>10}{'ratio':>8}{'H200 ms':>9}")
    for name, row in rows.items():
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
        floors = f"{row['floor_s']:>10.4f}{ratio:>8}{1000 * row['floor_h200_s']:>9.3f}"
        print(f"{name:<30}{row['s']:>10.4f}{_size(row['peak_mib']):>10}{row['tflop']:>10.4f}{floors}  {row['wrong']}")


def _sampling(rows: dict[int, Any]) -> None:
    for steps, row in rows.items():
        print(f"\n{steps} steps, {row['guided']} of them guided: {row['evaluations']} evaluations")
        for flow in ("structure", "latent"):
            seconds, floor, h200 = (row[f"{flow}_{figure}"] for figure in ("s", "floor_s", "floor_h200_s"))
            print(f"  {flow:<10}{seconds:>10.3f} s, floor {floor:.3f} s here, {h200:.3f} s on an H200")


def _memory(report: dict[str, Any]) -> None:
    print("\nMiB of weights")
    for name, size in report["networks_mib"].items():
        print(f"  {name:<30}{_size(size):>10}")
    print("MiB beside them")
    for name, size in report["ledger_mib"].items():
        print(f"  {name:<30}{_size(size):>10}")


def _savings(rows: dict[str, Any], blocks: int | None) -> None:
    depth = f", networks of {blocks} transformer blocks" if blocks else ""
    print(f"\n{'saving' + depth:<54}{'off s':>9}{'on s':>9}{'gain':>7}{'off MiB':>9}{'on MiB':>9}{'error':>10}")
    for name, row in rows.items():
        peaks = f"{_size(row['off_peak_mib']):>9}{_size(row['on_peak_mib']):>9}"
        wrong = "" if row["agrees"] else f"  more than {row['tolerance']:g}"
        times = f"{row['off_s']:>9.4f}{row['on_s']:>9.4f}{row['gain']:>7.2f}"
        error = "–" if row["error"] is None else f"{row['error']:.1e}"
        print(f"{name:<54}{times}{peaks}{error:>10}{wrong}")


def _size(mib: float | None) -> str:
    return "–" if mib is None else f"{mib:,.1f}"
