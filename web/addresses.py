"""Where the web tier listens: told to the person at the terminal, and to programs in `service.json`."""

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.settings import SettingsError

SERVICE_FILE = "service.json"
LISTEN_FDS = "MAQUETTE_LISTEN_FDS"


def parse(address: str) -> tuple[str, int]:
    """(host, port) of one entry of MAQUETTE_BIND: "host:port", "[v6]:port" or a bare port.

    Raises:
        SettingsError: it is none of these.
    """
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise SettingsError(f"MAQUETTE_BIND is {address!r}; use host:port, [v6]:port or a port from 0 to 65535")
    return host.strip("[]") or "0.0.0.0", int(port)


def listen(addresses: Sequence[str]) -> list[socket.socket]:
    """A listening socket for each address. They outlive the web tier's restarts: no port changes, no caller is refused.

    Raises:
        OSError, SettingsError: an address cannot be used.
    """
    found = []
    for address in addresses:
        host, port = parse(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            found.append(socket.create_server((host, port), family=family, backlog=2048))
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address!r} (MAQUETTE_BIND): {error.strerror}") from error
    return found


def inherited() -> list[int]:
    """The listening sockets that the process which started us has opened; none when nobody has."""
    return [int(number) for number in filter(None, os.environ.get(LISTEN_FDS, "").split(","))]


def announce(sockets: Sequence[Any], data_dir: Path) -> None:
    """Prints the addresses and leaves them, with our process id, in the data folder.

    Args:
        sockets: what getsockname() says of each listening socket.
    """
    urls = [_url(name) for name in sockets]
    data_dir.mkdir(parents=True, exist_ok=True)
    aside = data_dir / f".{SERVICE_FILE}.{os.getpid()}"
    aside.write_text(json.dumps({"pid": os.getpid(), "urls": urls}))
    os.replace(aside, data_dir / SERVICE_FILE)
    for url in urls:
        print(f"Maquette listens on {url}", flush=True)


def _url(name: Any) -> str:
    if isinstance(name, str):
        return f"unix:{name}"
    host, port = name[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"
