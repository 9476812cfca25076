"""The units of SyncHuman: name → comparison, with the tolerances of the reference set."""

from collections.abc import Callable

from tests.parity import synchuman_2d, synchuman_files, synchuman_joint, synchuman_loop, synchuman_second
from tests.parity.unit import Check, Unit

UNITS: dict[str, Callable[[Unit], list[Check]]] = (
    synchuman_2d.UNITS | synchuman_joint.UNITS | synchuman_loop.UNITS | synchuman_files.UNITS | synchuman_second.UNITS
)
