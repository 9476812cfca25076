"""Every way from pictures to an asset, by name. Naming one costs nothing; `load` imports it.

The web tier reads names and parameters here; only the device process loads a pipeline's code.
"""

from importlib import import_module
from typing import NamedTuple

from pipelines.base import Machine, Params, Pipeline
from pipelines.errors import PipelineUnavailable


class Entry(NamedTuple):
    """Where a pipeline's two halves live, as "module:name", what it runs on and which weights it needs."""

    params: str
    pipeline: str
    lane: str  # "cpu": runs well anywhere; "device": wants an accelerator where there is one
    preview: bool = False  # a rough shape of the picture is worth looking at while the job waits
    weights: str = ""  # a family of pipelines/weights/catalog.py; it is offered only where all of that is


PIPELINES: dict[str, Entry] = {
    "relief": Entry(
        "pipelines.relief.params:ReliefParams", "pipelines.relief.pipeline:ReliefPipeline", "cpu", preview=True
    ),
    "trellis": Entry(
        "pipelines.trellis.params:TrellisParams",
        "pipelines.trellis.pipeline:TrellisPipeline",
        "device",
        preview=True,
        weights="trellis",
    ),
    "synchuman": Entry(
        "pipelines.synchuman.params:SyncHumanParams",
        "pipelines.synchuman.pipeline:SyncHumanPipeline",
        "device",
        preview=True,
        weights="synchuman",
    ),
}
PREVIEW = "relief"  # what makes that shape


def _resolve(target: str) -> type:
    module, name = target.split(":")
    return getattr(import_module(module), name)


def entry(name: str) -> Entry:
    """The registry's entry.

    Raises:
        PipelineUnavailable: no pipeline has this name.
    """
    try:
        return PIPELINES[name]
    except KeyError:
        raise PipelineUnavailable(f"pipeline is {name!r}; this service has {', '.join(sorted(PIPELINES))}") from None


def params_class(name: str) -> type[Params]:
    """The parameters class of a pipeline; imports no heavy library."""
    return _resolve(entry(name).params)


def load(name: str, machine: Machine) -> Pipeline:
    """A pipeline ready to run on `machine`."""
    pipeline: Pipeline = _resolve(entry(name).pipeline)(machine)
    pipeline.setup()
    return pipeline


def register(module: str) -> None:
    """Adds the PIPELINES of a module named by the operator, so that a pipeline can be served without a fork.

    Raises:
        PipelineUnavailable: there is no such module, or it has no PIPELINES.
    """
    try:
        PIPELINES.update(import_module(module).PIPELINES)
    except (ImportError, AttributeError) as error:
        raise PipelineUnavailable(f"MAQUETTE_PLUGINS names {module!r}, which brings no PIPELINES: {error}") from error
