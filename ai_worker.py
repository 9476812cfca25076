"""Starts one AI worker per visible device and the reaper, starts the dead again, and stops all on a signal."""

import argparse
import logging
import os
import socket
import sys

from configs.settings import Settings, load_settings
from jobs.reaper import Reaper
from jobs.server import serving
from jobs.webhooks import Courier
from storage import open_storage
from workers import devices
from workers.entry import entry
from workers.offers import offers
from workers.processes import LONGEST_STOP_S, Keeper, Member

log = logging.getLogger("ai_worker")


def members(settings: Settings, names: list[str], url: str) -> list[Member]:
    """One worker process per device, and the one that makes previews."""
    command = [sys.executable, "-m", "workers.worker", "--redis", url]
    workers = [Member(f"worker on {name}", [*command, "--device", name]) for name in names]
    previewer = Member("the previewer", [sys.executable, "-m", "workers.previewer", "--redis", url])
    return [*workers, previewer] if settings.previews else workers


def run(settings: Settings, names: list[str]) -> None:
    """Works until a signal.

    Raises:
        UnsafeRedis, PipelineUnavailable, StorageError: the settings cannot work.
    """
    offers(settings)
    storage = open_storage(settings.storage)
    with serving(settings) as url:
        reaper = Reaper(url, storage, settings)
        courier = Courier(url, storage, settings)
        reaper.start()
        courier.start()
        try:
            log.info("devices: %s", ", ".join(names))
            host = socket.gethostname()
            Keeper(members(settings, names, url), on_death=lambda member, pid: reaper.died(host, pid)).run(
                settings.stop_grace_s + LONGEST_STOP_S
            )
        finally:
            courier.close()
            reaper.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append", help="cpu, cuda:0, …; may be repeated; default: MAQUETTE_DEVICES")
    args = parser.parse_args()
    with entry("ai_worker") as settings:
        if args.device:
            settings = load_settings({**os.environ, "MAQUETTE_DEVICES": ",".join(args.device)})
        wanted = list(settings.devices)
        run(settings, devices.visible() if wanted == ["auto"] else wanted)


if __name__ == "__main__":
    main()
