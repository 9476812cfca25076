"""Addresses, proxies, and a service that may already run."""

import errno
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from configs.settings import Settings, SettingsError, load_settings
from doctor.findings import Finding, note, ok, problem, warning
from doctor.settings import is_open
from web.addresses import SERVICE_FILE, parse


def check() -> Iterator[Finding]:
    """Whether we could listen, or do so already; whom we believe about addresses."""
    settings = load_settings()
    service = running(settings.data_dir)
    for address in settings.bind:
        try:
            yield _port(address, bool(service))
        except SettingsError as error:
            yield problem("address", str(error), "correct MAQUETTE_BIND")
            return
    for url in service:
        yield from _health(url)
    yield from _trust(settings)
    yield from _outgoing()


def running(data_dir: Path) -> list[str]:
    """Where the service of this data folder listens, as far as it still lives."""
    try:
        told = json.loads((data_dir / SERVICE_FILE).read_text())
        os.kill(told["pid"], 0)
        return list(told["urls"])
    except PermissionError:  # it lives, and is somebody else's
        return list(told["urls"])
    except (OSError, ValueError, KeyError):
        return []


def _port(address: str, ours: bool) -> Finding:
    host, port = parse(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and ours:
            return ok("address", f"{address}: our service listens")
        if error.errno == errno.EADDRINUSE:
            return problem("address", f"{address} is taken by another program", "ss -ltnp shows it; or MAQUETTE_BIND")
        return problem("address", f"{address} cannot be listened on: {error.strerror}", "another MAQUETTE_BIND")
    return ok("address", f"{address} is free")


def _health(url: str) -> Iterator[Finding]:
    if url.startswith("unix:"):
        yield note("service", f"it listens on {url}, which this does not ask")
        return
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not lead to ourselves
    for name in ("live", "ready"):
        try:
            with direct.open(f"{url}/health/{name}", timeout=5) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            yield problem("service", f"{url} is not {name}: {_reason(error)}", "look into its log")
            return
        except (OSError, ValueError) as error:
            yield problem("service", f"{url} should be running and does not answer: {error}", "look into its log")
            return
    yield ok("service", f"{url} runs with {told.get('workers', 0)} worker(s)")


def _reason(error: urllib.error.HTTPError) -> str:
    with error:
        try:
            return str(json.load(error)["error"])
        except (ValueError, KeyError, TypeError):
            return f"HTTP {error.code}"


def _trust(settings: Settings) -> Iterator[Finding]:
    opened = [address for address in settings.bind if is_open(address)]
    if settings.trusted_proxies and opened:
        said = (
            f"X-Forwarded-For is believed ({settings.trusted_proxies} proxies) and {', '.join(opened)} can be reached "
            "past them: whoever does so is whom he claims to be"
        )
        yield warning("proxies", said, "MAQUETTE_BIND=127.0.0.1:6006, or a firewall that lets only the proxies through")
    elif settings.trusted_proxies:
        yield ok("proxies", f"{settings.trusted_proxies} are trusted, and only this machine reaches us directly")
    elif not opened:
        said = "only this machine reaches us and no proxy is trusted; behind one, all clients would be one"
        yield note("proxies", said, "MAQUETTE_TRUSTED_PROXIES=1 behind a proxy")
    else:
        yield ok("proxies", "none is trusted; a client is the address it comes from")


def _outgoing() -> Iterator[Finding]:
    named = [
        name
        for name in ("http_proxy", "https_proxy", "all_proxy")
        if os.environ.get(name) or os.environ.get(name.upper())
    ]
    if not named:
        return
    exempt = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    said = f"{', '.join(named)} is set; image_url and webhooks go out directly all the same"
    if "127.0.0.1" in exempt or exempt == "*":
        yield note("outgoing", said)
    else:
        yield warning(
            "outgoing",
            f"{said}, and clients on this machine would ask it for 127.0.0.1",
            "no_proxy=127.0.0.1,localhost",
        )
