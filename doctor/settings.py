"""The settings: can they be read, are they meant so, and is what they name there."""

import difflib
import os
import re
from collections.abc import Iterator

import pipelines
from configs.settings import PREFIX, ROOT, Settings, SettingsError, load_settings
from doctor.findings import Finding, note, ok, problem, warning
from pipelines.errors import PipelineUnavailable
from web.addresses import parse
from workers.offers import named, offers

# Read by setup.sh, the client, the tests, or from one of our processes to the next.
_OTHERS = ("TORCH_INDEX", "URL", "API_KEY", "CHROMIUM", "PARENT_PID", "LISTEN_FDS")
_SHORTEST_KEY = 16
_SECRETS = ("MAQUETTE_API_KEYS", "MAQUETTE_REDIS_URL", "api_keys:", "redis_url:")
LOOPBACK = ("127.", "::1", "localhost")


def check() -> Iterator[Finding]:
    """Files, spelling, values, and who may do what."""
    yield from _spelling()
    yield from _files()
    try:
        settings = load_settings()
    except SettingsError as error:
        yield problem("values", str(error), "docs/settings.md lists what is allowed")
        return
    yield from _pipelines(settings)
    yield from _access(settings)


def _spelling() -> Iterator[Finding]:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {PREFIX + name for name in _OTHERS}
    env_file = (ROOT / ".env").read_text() if (ROOT / ".env").is_file() else ""
    names = {*os.environ, *re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", env_file, re.M)}
    for name in sorted(name for name in names if name.startswith(PREFIX) and name not in known):
        near = difflib.get_close_matches(name, known, 1)
        yield warning(
            "spelling", f"{name} is set and means nothing", f"perhaps {near[0]}?" if near else f"unset {name}"
        )


def _files() -> Iterator[Finding]:
    found = [path for path in (ROOT / ".env", ROOT / "configs" / "maquette.yaml") if path.is_file()]
    names = [str(path.relative_to(ROOT)) for path in found]
    yield ok("files", f"read from {' and '.join(['the environment', *names])}")
    for path, name in zip(found, names, strict=True):
        if path.stat().st_mode & 0o044 and any(secret in path.read_text() for secret in _SECRETS):
            yield warning("files", f"{name} holds secrets and others may read it", f"chmod 600 {name}")


def _pipelines(settings: Settings) -> Iterator[Finding]:
    try:
        for module in settings.plugins:
            pipelines.register(module)
        named(settings)
    except PipelineUnavailable as error:
        yield problem("pipelines", str(error), "correct MAQUETTE_PLUGINS or MAQUETTE_PIPELINES")
        return
    try:
        found = offers(settings)
    except PipelineUnavailable as error:
        yield problem("pipelines", str(error), "do what it names, or name others in MAQUETTE_PIPELINES")
        return
    told = "; ".join(f"on {device}: {', '.join(one.pipelines)}" for device, one in found.items())
    yield ok("pipelines", f"this machine's workers offer {told}")


def _access(settings: Settings) -> Iterator[Finding]:
    short = [key for key in settings.api_keys if len(key) < _SHORTEST_KEY]
    if short:
        yield warning("API keys", f"{len(short)} of them can be guessed", "make keys with: openssl rand -hex 24")
    elif settings.api_keys:
        yield ok("API keys", f"every request needs one of {len(settings.api_keys)}")
    elif any(is_open(address) for address in settings.bind):
        said = f"none: whoever reaches {', '.join(settings.bind)} may submit"
        yield note("API keys", said, "set MAQUETTE_API_KEYS where that is not only you")
    if settings.allow_private_urls:
        yield warning(
            "image_url", "strangers can have the service fetch from this network", "unset MAQUETTE_ALLOW_PRIVATE_URLS"
        )


def is_open(address: str) -> bool:
    """Whether an address of MAQUETTE_BIND can be reached from other machines."""
    return not parse(address)[0].startswith(LOOPBACK)
