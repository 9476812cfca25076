"""python -m benchmarks.synchuman"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

import benchmarks.synchuman
from benchmarks.networks.__main__ import H200
from benchmarks.networks.meters import matmul_rate
from benchmarks.synchuman.counting import Live, counting
from benchmarks.synchuman.stages import CountMeter, Row, Run, TimeMeter, extraction
from benchmarks.synchuman.subjects import FIRST, SECOND, Size, size
from benchmarks.synchuman.tables import tell
from networks.samplers.flow_euler import schedule
from pipelines.effort import Effort, usual
from pipelines.slat.checkpoint import ENCODER

MODES = {
    "default": usual("cuda", low_vram=False),
    "branches one after the other": Effort(one_batch=False),
    "low_vram": usual("cuda", low_vram=True),
}
_FIRST = ("conditioning", "views", "pictures", "structure decoding")
_MOST = 12 * 2**30  # bytes that a stage may need
_COUNTED_STEPS = (50, 25)
_GUIDED_TWICE = (0.98, 1.0)  # times of the first two of 25 steps, so that three steps are of both kinds
_SAME = 0.03  # how far two ways of counting may be apart
_AGREE = {torch.float32: 1e-4, torch.float16: 2e-2}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All figures, as `--json` prints them."""
    chosen, on_cuda = size(args.size), args.device.startswith("cuda")
    torso = torch.float16 if args.count or on_cuda else torch.float32
    report: dict[str, Any] = {
        "size": args.size, "torso": _word(torso), "torch": torch.__version__, "limit_mib": _MOST / 2**20, "counted": {}
    }  # fmt: skip
    for mode, effort in MODES.items():
        _say(f"counting, {mode}")
        report["counted"][mode] = counted(chosen, torso, effort, mode == "default")
    default = report["counted"]["default"]
    report["largest_mib"] = max(row["stage_sum_mib"] for row in default.values())
    report["all_mib"] = max(row["all_sum_mib"] for row in default.values())
    report["first_stage_tflop"] = sum(row["tflop"] for name, row in default.items() if _is_first(name))
    _say("comparing counts with those of tensors that are there")
    report["count_ratios"] = compared(size("tiny"))
    report["sound"] = all(abs(ratio - 1) < _SAME for ratio in report["count_ratios"].values())
    report["sound"] &= report["largest_mib"] <= report["limit_mib"]
    if not args.count:
        report["measured"] = told = measured(chosen, args.device, torso, args.steps, default)
        report["sound"] &= not told["wrong"] and told["disagreement"] < _AGREE[torso]
    return report


def counted(chosen: Size, torso: torch.dtype, effort: Effort, whole: bool = True) -> dict[str, dict[str, Any]]:
    """Stages as a device would have them; where not the whole is wanted, those that the effort is about."""
    live = Live(("meta",))
    run = Run(chosen, "meta", torso, CountMeter(live), _COUNTED_STEPS, enough=2)
    run.load()
    with counting(live):
        picture = run.conditioning()
        rows = run.rows()[: None if whole else 0]
        latents = run.first_stage(picture, effort)
        if whole:
            run.decoding(*latents)
        features = run.features() if whole else run.blank_features()
        rows += run.rows()
        live.devices = ("meta", "cpu")  # the voxels' places have numbers, and stay there
        run.enough, run.interval = 3, _GUIDED_TWICE
        for wanted in chosen.voxels:
            run.decoders(*run.latent(picture.tokens, wanted, effort), features, effort)
            rows += [row._replace(name=f"{row.name}, {wanted:,} voxels") for row in run.rows()]
    if whole:
        rows += [extraction(chosen, wanted) for wanted in chosen.voxels]
    return {_named(row): _weighed(row, run.weights) for row in rows}


def compared(tiny: Size) -> dict[str, float]:
    """Stage → counted peak over the same of a run on the CPU, with numbers."""
    peaks = []
    for device, devices in (("meta", ("meta", "cpu")), ("cpu", ("cpu",))):
        live = Live(devices)
        run = Run(tiny, device, torch.float32, CountMeter(live), (2, 2), enough=1)
        run.load()
        with counting(live):
            picture = run.conditioning()
            run.decoding(*run.first_stage(picture, Effort(one_batch=True)))
            latent = run.latent(picture.tokens, tiny.voxels[0], Effort(one_batch=True))
            run.decoders(*latent, run.blank_features(), Effort())
        peaks.append({f"{row.name}, {row.key}": row.peak for row in run.rows()})
    meta, cpu = peaks
    return {name: peak / cpu[name] for name, peak in meta.items()}


def _weighed(row: Row, weights: Mapping[str, int]) -> dict[str, Any]:
    """In MiB, with the weights that lie beside: of the network, of the stage's, of all."""
    beside = row.before + (row.peak or 0)
    stage = sum(weights[key] for key in (FIRST if row.name in _FIRST else SECOND))
    return {
        "peak_mib": beside / 2**20, "beyond_mib": (row.peak or 0) / 2**20, "weights_mib": weights[row.key] / 2**20,
        "sum_mib": (beside + weights[row.key]) / 2**20, "stage_sum_mib": (beside + stage) / 2**20,
        "all_sum_mib": (beside + sum(weights.values())) / 2**20,
        "tflop": _flops(row.amount, row.laps, _COUNTED_STEPS) / 1e12, "flops": row.amount, "laps": row.laps,
        "largest": {told: size_ / 2**20 for told, size_ in row.largest},
    }  # fmt: skip


def _flops(amount: float, laps: Sequence[float], steps: tuple[int, int]) -> float:
    """Of all steps, of which only the first were counted: those of the views are alike, of the latent of two kinds."""
    if not laps:
        return amount
    first, step = laps[0], laps[1] - laps[0]
    if len(laps) == 2:
        return first + (steps[0] - 1) * step
    guided = sum(schedule(steps[1], 3.0, (0.5, 1.0)).guided)
    return first + (guided - 1) * step + (steps[1] - guided) * (laps[2] - laps[1])


def measured(
    chosen: Size, device: str, torso: torch.dtype, steps: Sequence[int] | None, counts: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Every stage with numbers, beside what it needs at least."""
    on_cuda = device.startswith("cuda")
    rates = {dtype: matmul_rate(device, dtype) for dtype in {torch.float32, torso}}
    told = tuple(steps or (_COUNTED_STEPS if on_cuda else (2, 2)))
    taken = told[0], told[-1]
    run = Run(chosen, device, torso, TimeMeter(device), taken)
    run.load()
    if on_cuda:  # once for kernels to be compiled and chosen
        run.enough = 2
        _whole(run, told=False)
        run.enough = None
    _say("measuring")
    rows, disagreement = _whole(run)
    table = {}
    for row in rows:
        count, dtype = counts[_named(row)], torch.float32 if row.key == ENCODER else torso
        step = statistics.median(b - a for a, b in pairwise(row.laps)) if len(row.laps) > 1 else None
        needed = _flops(count["flops"], count["laps"], taken)
        table[_named(row)] = {
            "s": row.amount, "step_s": step, "floor_s": needed / rates[dtype], "floor_h200_s": needed / H200,
            "ratio": row.amount * rates[dtype] / needed, "peak_mib": None if row.peak is None else row.peak / 2**20,
            "peak_over_counted": None if row.peak is None else row.peak / 2**20 / count["beyond_mib"],
        }  # fmt: skip
    first = [row for name, row in table.items() if _is_first(name)]
    return {
        "device": torch.cuda.get_device_name(device) if on_cuda else "cpu", "steps": taken, "stages": table,
        "first_stage_s": sum(row["s"] for row in first), "first_stage_floor_s": sum(row["floor_s"] for row in first),
        "disagreement": disagreement, "wrong": run.wrong,
        "tflops_measured": {_word(dtype): rate / 1e12 for dtype, rate in rates.items()},
    }  # fmt: skip


def _whole(run: Run, told: bool = True) -> tuple[list[Row], float]:
    """Every stage, and how far the two ways of guidance are apart."""
    effort, rows = MODES["default"], []
    picture = run.conditioning()
    run.decoding(*run.first_stage(picture, effort))
    features = run.features()
    rows += run.rows()
    for wanted in run.size.voxels:
        run.decoders(*run.latent(picture.tokens, wanted, effort), features, effort)
        rows += [row._replace(name=f"{row.name}, {wanted:,} voxels") for row in run.rows()]
    return rows, run.disagreement(picture) if told else 0.0


def _is_first(name: str) -> bool:
    return name.split(",")[0] in _FIRST


def _named(row: Row) -> str:
    return f"{row.name}, {row.key}"


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.synchuman", description=benchmarks.synchuman.__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<n>")
    parser.add_argument("--size", choices=("tiny", "official"), default="tiny")
    parser.add_argument("--count", action="store_true", help="nothing is measured; counted as in half precision")
    parser.add_argument("--steps", type=int, nargs="+", help="of the first and of the second stage; 50 25, on a CPU 2")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    args = parser.parse_args(words)
    report = measure(args)
    print(json.dumps(report)) if args.json else tell(report)
    return 0 if report["sound"] else 1


if __name__ == "__main__":
    sys.exit(main())
