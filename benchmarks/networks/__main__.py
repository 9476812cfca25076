"""python -m benchmarks.networks"""

import argparse
import json
import sys
from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch

import benchmarks.networks
from benchmarks.networks import savings, stages
from benchmarks.networks.meters import matmul_rate
from benchmarks.networks.stages import Bench, bench
from benchmarks.networks.subjects import Size, size
from benchmarks.networks.tables import tell
from networks.samplers.flow_euler import Schedule, schedule

H200 = 790e12  # FLOPs a second in half precision
_SAVINGS_BLOCKS = 2  # where a CPU compares ways through networks of official size


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, as `--json` prints them."""
    prepared = _prepared(args)
    rates = {dtype: matmul_rate(args.device, dtype) for dtype in sorted({torch.float32, prepared.torso}, key=str)}
    report: dict[str, Any] = {
        "device": _named(args.device), "size": args.size, "torso": _word(prepared.torso), "torch": torch.__version__,
        "voxels": len(prepared.voxels), "coarse_voxels": len(prepared.voxels.coarse.voxels),
        "tflops_measured": {_word(dtype): rate / 1e12 for dtype, rate in rates.items()},
        "networks_mib": {}, "stages": {}, "sampling": {}, "ledger_mib": {}, "savings": {},
    }  # fmt: skip
    if not args.no_stages:
        for found in stages.run(
            prepared, lambda key, weight: report["networks_mib"].update({key: weight / 2**20}), _say
        ):
            report["stages"][found.stage.name] = row = _stage(found, rates[found.stage.dtype])
            _say(f"  {row['s']:.3f} s")
        report["sampling"] = {steps: _sampling(report["stages"], _times(prepared.size, steps)) for steps in args.steps}
        report["ledger_mib"] = _ledger(report["stages"])
    if not args.no_savings:
        report["savings_blocks"] = prepared.blocks
        for compared in savings.run(prepared, args.compile, _say):
            report["savings"][compared.saving.name] = _saving(compared)
    report["sound"] = not any(row["wrong"] for row in report["stages"].values())
    report["sound"] &= all(row["agrees"] for row in report["savings"].values())
    return report


def _prepared(args: argparse.Namespace) -> Bench:
    chosen = size(args.size)
    torso = getattr(torch, args.torso or ("float16" if args.device.startswith("cuda") else "float32"))
    slow = args.size == "official" and args.device == "cpu"
    repeats = args.repeats or (1 if slow else 5)
    return bench(
        chosen, args.device, torso, _times(chosen, max(args.steps)), args.voxels or chosen.voxels,
        warmups=0 if slow else 2, repeats=repeats, blocks=_SAVINGS_BLOCKS if slow else None,
    )  # fmt: skip


def _times(chosen: Size, steps: int) -> Schedule:
    return schedule(steps, chosen.sampler["rescale_t"], tuple(chosen.sampler["cfg_interval"]))


def _stage(found: stages.Measured, rate: float) -> dict[str, Any]:
    stage, reading = found.stage, found.reading
    floor = stage.flops / rate
    return {
        "part": stage.part, "s": reading.seconds, "peak_mib": _mib(reading.peak), "beside_mib": _mib(stage.beside),
        "tflop": stage.flops / 1e12, "floor_s": floor, "floor_h200_s": stage.flops / H200,
        "ratio": reading.seconds / floor if floor else None, "wrong": found.wrong,
    }  # fmt: skip


def _sampling(rows: dict[str, Any], times: Schedule) -> dict[str, Any]:
    """Both flows' sampling: every step asks for a conditional evaluation, a guided one for an unconditional too."""
    told: dict[str, Any] = {"evaluations": times.evaluations, "guided": sum(times.guided)}
    for flow in ("structure", "latent"):
        parts = (("once a job", 1), ("conditional", times.steps), ("unconditional", sum(times.guided)))
        for figure in ("s", "floor_s", "floor_h200_s"):
            told[f"{flow}_{figure}"] = sum(count * rows[f"{flow} flow, {name}"][figure] for name, count in parts)
    return told


def _ledger(rows: dict[str, Any]) -> dict[str, float | None]:
    """The most that each part of the pipeline takes beside its network's weights."""
    ledger: dict[str, float | None] = {}
    for row in rows.values():
        taken = None if row["peak_mib"] is None else row["peak_mib"] + row["beside_mib"]
        known = ledger.get(row["part"])
        ledger[row["part"]] = taken if known is None or taken is None else max(known, taken)
    return ledger


def _saving(compared: savings.Compared) -> dict[str, Any]:
    off, on = compared.seconds
    error = compared.error if isfinite(compared.error) else None  # JSON has no word for it
    return {
        "off_s": off, "on_s": on, "gain": off / on, "off_peak_mib": _mib(compared.peaks[0]),
        "on_peak_mib": _mib(compared.peaks[1]), "error": error, "tolerance": compared.saving.tolerance,
        "agrees": compared.agrees,
    }  # fmt: skip


def _mib(size: int | None) -> float | None:
    return None if size is None else size / 2**20


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _named(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


def _say(name: str) -> None:
    print(f"… {name}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=benchmarks.networks.__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<n>")
    parser.add_argument("--size", choices=("tiny", "official"), default="tiny")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    parser.add_argument("--voxels", type=int, help="of the structure; 20,000 at official size, 900 at tiny")
    parser.add_argument("--steps", type=int, nargs="+", default=[12, 25], help="to sum whole samplings for")
    parser.add_argument("--torso", choices=("float32", "float16", "bfloat16"), help="float16 on CUDA, else float32")
    parser.add_argument("--repeats", type=int, help="runs of which the median counts; 5, on a CPU at official size 1")
    parser.add_argument("--compile", action="store_true", help="try torch.compile too, which takes a minute")
    parser.add_argument("--no-stages", action="store_true", help="the savings alone")
    parser.add_argument("--no-savings", action="store_true", help="the stages alone")
    args = parser.parse_args(words)
    with torch.inference_mode():
        report = measure(args)
    print(json.dumps(report)) if args.json else tell(report)
    return 0 if report["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
