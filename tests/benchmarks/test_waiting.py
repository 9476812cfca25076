"""Clients who wait in POST /generate: the measurement itself, made small."""

from pathlib import Path

import pytest

from benchmarks.crowd import Wires
from benchmarks.waiting import measure, own


@pytest.mark.service
def test_everybody_gets_the_answer_of_their_own_job(tmp_path: Path) -> None:
    found = measure(tmp_path, clients=12, seconds=0.5)
    assert found["waiting"] == found["answered_right"] == found["jobs"] == 12 and found["wrong"] == 0
    assert 0 < found["health_p50_ms_while_waiting"] <= found["health_p99_ms_while_waiting"]


@pytest.mark.parametrize("heard", [b"", b"HTTP/1.1 202 ACCEPTED\r\n\r\n{}", b"HTTP/1.1 503 UNAVAILABLE\r\n\r\n{}"])
def test_another_answer_is_not_theirs(heard: bytes) -> None:
    assert not own("http://127.0.0.1:1", 0, heard)


def test_nobody_waits_without_a_service() -> None:
    with pytest.raises(OSError), Wires("http://127.0.0.1:1", [b""]):
        raise AssertionError("it has connected")
