"""Which networks stay on a device is decided by what was measured."""

from collections.abc import Callable
from weakref import WeakSet

import pytest
import torch
from torch import nn

from pipelines.residents import Residents

MIB = 2**20


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests have left on the CPU is nothing to these."""
    monkeypatch.setattr("pipelines.residents._EVERYBODY", WeakSet())


class Card:
    """A device of so many bytes, of which the networks on it and the stage at work take their part."""

    def __init__(self, size: int, residents: Callable[[], Residents]) -> None:
        self.size, self._residents = size, residents
        self.stage = 0
        self.releases = 0

    def free(self) -> int:
        found = self._residents()
        return self.size - sum(found.ledger.networks[key] for key in found.on_device)

    def mark(self) -> None:
        self.stage = 0

    def peak(self) -> int:
        return self.stage

    def release(self) -> None:
        self.releases += 1


class Parts:
    """Residents of networks of one MiB each, on a card."""

    def __init__(self, size: int, low_vram: bool = False) -> None:
        self.loads: list[str] = []
        self.card = Card(size, lambda: self.residents)
        self.residents = Residents(self._load, "cpu", low_vram, self.card)

    def _load(self, key: str) -> nn.Module:
        self.loads.append(key)
        return nn.Linear(MIB // 4, 1, bias=False)

    def run(self, key: str, stage: str, takes: int = 0) -> None:
        with self.residents.using(key, stage):
            self.card.stage = takes


@pytest.fixture
def measured() -> Callable[..., Parts]:
    def make(size: int, low_vram: bool = False) -> Parts:
        parts = Parts(size, low_vram)
        parts.residents.ledger.stages |= dict.fromkeys(("first", "second", "third"), 0)
        return parts

    return make


def test_networks_stay_while_there_is_room(measured: Callable[..., Parts]) -> None:
    parts = measured(3 * MIB)
    for key, stage in (("a", "first"), ("b", "second"), ("c", "third"), ("a", "first")):
        parts.run(key, stage)
    assert parts.residents.on_device == {"a", "b", "c"}
    assert parts.loads == ["a", "b", "c"]


def test_the_one_used_longest_ago_leaves_first(measured: Callable[..., Parts]) -> None:
    parts = measured(2 * MIB)
    for key, stage in (("a", "first"), ("b", "second"), ("a", "first"), ("c", "third")):
        parts.run(key, stage)
    assert parts.residents.on_device == {"a", "c"}


def test_a_stage_that_took_much_gets_its_room_the_next_time(measured: Callable[..., Parts]) -> None:
    parts = measured(4 * MIB)
    parts.run("a", "first", takes=3 * MIB)
    parts.run("b", "second")
    assert parts.residents.on_device == {"a", "b"}
    parts.run("a", "first", takes=MIB)
    assert parts.residents.on_device == {"a"}
    assert parts.residents.ledger.stages["first"] == 3 * MIB, "the most that was ever taken counts"


def test_what_was_never_measured_gets_plenty_of_room() -> None:
    parts = Parts(1024 * MIB)
    parts.run("a", "first")
    parts.run("b", "second")
    assert parts.residents.on_device == {"b"}
    parts.run("a", "first")
    parts.run("b", "second")
    assert parts.residents.on_device == {"a", "b"}


def test_short_of_memory_only_the_network_at_work_is_there(measured: Callable[..., Parts]) -> None:
    parts = measured(100 * MIB, low_vram=True)
    with parts.residents.using("a", "first"):
        assert parts.residents.on_device == {"a"}
    assert parts.residents.on_device == set()
    with parts.residents.using("b", "second"):
        assert parts.residents.on_device == {"b"}
    assert parts.card.releases == 2


def test_a_stage_that_fails_leaves_its_measure_behind(measured: Callable[..., Parts]) -> None:
    parts = measured(10 * MIB)
    with pytest.raises(torch.OutOfMemoryError), parts.residents.using("a", "first"):
        parts.card.stage = 7 * MIB
        raise torch.OutOfMemoryError
    assert parts.residents.ledger.stages["first"] == 7 * MIB
    parts.residents.empty()
    assert parts.residents.on_device == set()


def test_the_ledger_speaks_in_mebibytes(measured: Callable[..., Parts]) -> None:
    parts = measured(10 * MIB)
    parts.run("a", "first", takes=MIB // 2)
    told = parts.residents.ledger.told()
    assert told["networks_mb"] == {"a": 1.0}
    assert told["stages_mb"]["first"] == 0.5


def test_other_models_of_the_process_make_room_too() -> None:
    both: list[Residents] = []
    card = Card(4 * MIB, lambda: both[0])
    card.free = lambda: 4 * MIB - MIB * sum(len(one.on_device) for one in both)  # type: ignore[method-assign]
    both += [Residents(lambda key: nn.Linear(MIB // 4, 1, bias=False), "cpu", False, card) for _ in range(2)]
    for one in both:
        one.ledger.stages |= {"first": 0, "large": 3 * MIB}
    for key in "abc":
        with both[0].using(key, "first"):
            pass
    with both[1].using("d", "first"):
        assert both[0].on_device == {"a", "b", "c"}, "there is room for one more"
    with both[1].using("d", "large"):
        assert both[0].on_device == set() and both[1].on_device == {"d"}
    with both[0].using("a", "first"):
        pass
    both[1].empty()
    assert both[0].on_device == both[1].on_device == set()
