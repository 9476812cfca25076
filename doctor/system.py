"""Limits of the operating system that show only under load."""

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from configs.settings import load_settings
from doctor.findings import Finding, note, ok, warning

_BUILT = 1_767_225_600  # 2026: a clock before that has not been set


def check() -> Iterator[Finding]:
    """Files, clock, kernel."""
    yield _files()
    yield _clock()
    if sys.platform != "linux":
        yield warning("kernel", f"{sys.platform}: processes are not tied to their parents here", "run it on Linux")
    elif not load_settings().redis_url:
        yield from _overcommit()


def _files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = load_settings()
    needed = settings.web_waiting + 2 * settings.web_threads + 256
    if soft != resource.RLIM_INFINITY and soft < needed:
        remedy = f"ulimit -n {max(needed, 4096)} (LimitNOFILE= in systemd)"
        return warning("open files", f"{soft} a process, and {needed} may be needed", remedy)
    return ok("open files", f"{soft} a process (at most {hard})")


def _clock() -> Finding:
    if time.time() < _BUILT:
        return warning(
            "clock", f"it says {time.strftime('%Y-%m-%d')}, which is past", "set it: timedatectl set-ntp true"
        )
    return ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _overcommit() -> Iterator[Finding]:
    try:
        value = Path("/proc/sys/vm/overcommit_memory").read_text().strip()
    except OSError:
        return
    if value == "2":
        said = "the kernel promises no more memory than there is; Redis needs twice its own to rewrite its file"
        yield note("memory", said, "sysctl vm.overcommit_memory=1")
