"""Which pipelines a device's worker offers, and why it does not offer the others."""

from dataclasses import dataclass, field

import pipelines
from configs.hub import load_hub
from configs.settings import Settings
from pipelines.base import Machine
from pipelines.errors import PipelineUnavailable
from pipelines.weights import COMPLETE, PARTIAL, Found, find
from pipelines.weights.catalog import command
from workers import machines
from workers.devices import lane, visible

_LIGHT = 2**28  # bytes of weights up to which a CPU does the work too


@dataclass(frozen=True)
class Offer:
    """What a worker can do.

    Attributes:
        pipelines: names it offers.
        unavailable: name → why it cannot run here, with the remedy; of those that were asked for.
        weights: family → complete, partial or absent; of all that a pipeline needs.
    """

    pipelines: list[str]
    unavailable: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)


def named(settings: Settings) -> list[str]:
    """The pipelines that MAQUETTE_PIPELINES asks for.

    Raises:
        PipelineUnavailable: it names one that does not exist.
    """
    names = list(pipelines.PIPELINES) if settings.pipelines == ("auto",) else list(settings.pipelines)
    return [name for name in names if pipelines.entry(name)]


def offers(settings: Settings) -> dict[str, Offer]:
    """Device → what its worker would offer, of each that MAQUETTE_DEVICES names.

    Raises:
        PipelineUnavailable: as `offer`.
    """
    names = visible() if settings.devices == ("auto",) else settings.devices
    hub = load_hub()
    return {name: offer(settings, machines.machine(name, settings, hub)) for name in names}


def offer(settings: Settings, machine: Machine) -> Offer:
    """What of it this machine can run.

    Raises:
        PipelineUnavailable: one does not exist, or none can run; the message names the remedies.
    """
    families = {entry.weights for entry in pipelines.PIPELINES.values() if entry.weights}
    found = {family: find(family, machine.weights) for family in sorted(families)}
    weights = {family: one.state for family, one in found.items()}
    names, unavailable = named(settings), {}
    for name in names:
        if reason := _hindrance(name, settings, machine, found):
            unavailable[name] = reason
    if len(unavailable) == len(names):
        told = "; ".join(f"{name}: {reason}" for name, reason in unavailable.items())
        raise PipelineUnavailable(f"none of MAQUETTE_PIPELINES={','.join(settings.pipelines)} can run here: {told}")
    return Offer([name for name in names if name not in unavailable], unavailable, weights)


def _hindrance(name: str, settings: Settings, machine: Machine, found: dict[str, Found]) -> str:
    """Why a pipeline cannot run on this machine, and what to do; empty when it can."""
    family = pipelines.entry(name).weights
    if not family:
        return ""
    weights = found[family]
    if weights.state != COMPLETE:
        state = "only partly there" if weights.state == PARTIAL else "not there"
        return f"its weights are {state}; fetch them with: {command(family)}"
    if lane(machine.device) == "cpu" and settings.pipelines == ("auto",) and weights.size > _LIGHT:
        others = ",".join(other for other in pipelines.PIPELINES if not pipelines.entry(other).weights)
        return (
            "it wants an NVIDIA card; on a CPU it takes hours, "
            f"which is allowed with: MAQUETTE_PIPELINES={others},{name} python ai_worker.py"
        )
    return ""
