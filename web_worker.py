"""The web tier by itself, for development: one process, Flask's own server. gunicorn is for the rest."""

import argparse
import logging
import threading

from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from configs.settings import Settings
from jobs.server import serving
from web import create_app
from web.addresses import announce, inherited, parse
from workers.entry import entry


def run(settings: Settings) -> None:
    """Works until a signal.

    Raises:
        UnsafeRedis, StorageError, OSError: the settings cannot work.
    """
    with serving(settings) as url:
        app = create_app(settings, url)
        servers = _inherited_servers(app)
        if not servers:
            servers = [make_server(*parse(address), app, threaded=True) for address in settings.bind]
            announce([server.socket.getsockname() for server in servers], settings.data_dir)
        _serve(servers)


def _inherited_servers(app: Flask) -> list[BaseWSGIServer]:
    return [make_server("127.0.0.1", 0, app, threaded=True, fd=number) for number in inherited()]


def _serve(servers: list[BaseWSGIServer]) -> None:
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except (KeyboardInterrupt, SystemExit):
        for server in servers:
            server.shutdown()


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with entry("web_worker") as settings:
        logging.getLogger("werkzeug").setLevel("WARNING")
        run(settings)


if __name__ == "__main__":
    main()
