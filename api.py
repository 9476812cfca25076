"""The whole service in one terminal: Redis, web tier and AI workers, each started again when it dies.

For development `python api.py` runs Flask's own server and one AI worker on the first device; `--production` runs
gunicorn and one worker per device, as `./setup.sh serve` does.
"""

import argparse
import socket
import sys
from collections.abc import Sequence

from configs.settings import ROOT, Settings
from jobs.server import serving
from web.addresses import LISTEN_FDS, announce, listen
from workers import devices
from workers.entry import entry
from workers.offers import offers
from workers.processes import LONGEST_STOP_S, Keeper, Member


def members(settings: Settings, url: str, listening: Sequence[socket.socket], production: bool) -> list[Member]:
    """The AI workers first: the web tier has nothing to answer with before them."""
    fds = [found.fileno() for found in listening]
    env = {"MAQUETTE_REDIS_URL": url}
    web_env = env | {"MAQUETTE_START_WORKERS": "0", LISTEN_FDS: ",".join(map(str, fds))}
    ai = [sys.executable, str(ROOT / "ai_worker.py")]
    if not production and settings.devices == ("auto",):
        ai += ["--device", devices.visible()[0]]
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn_config.py"), "wsgi:app"]
    web = gunicorn if production else [sys.executable, str(ROOT / "web_worker.py")]
    return [Member("the AI workers", ai, env), Member("the web tier", web, web_env, fds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--production", action="store_true", help="gunicorn, and one AI worker per device")
    args = parser.parse_args()
    with entry("api") as settings:
        offers(settings)
        with serving(settings) as url:
            listening = listen(settings.bind)
            announce([found.getsockname() for found in listening], settings.data_dir)
            keeper = Keeper(members(settings, url, listening, args.production))
            keeper.run(settings.stop_grace_s + 2 * LONGEST_STOP_S)


if __name__ == "__main__":
    main()
