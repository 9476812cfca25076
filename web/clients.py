"""Who is asking: the API key where keys are switched on, else the IP seen through the trusted proxies."""

import hashlib
import hmac
import ipaddress
from functools import lru_cache

from flask import Request

from configs.settings import Settings
from web.errors import Unauthorized

LOCAL = "local"  # a caller without an address: the service listens on a Unix socket


def client_of(request: Request, settings: Settings) -> str:
    """The client's name, safe in URLs and file names, the same wherever it appears.

    Raises:
        Unauthorized: keys are switched on and the request carries none of them.
    """
    if settings.api_keys:
        return _key_name(_given_key(request), settings.api_keys)
    # ProxyFix has put the address that the outermost trusted proxy saw into remote_addr; what is left of it is forged.
    seen = request.remote_addr or ""
    behind = request.environ.get("werkzeug.proxy_fix.orig", {}).get("REMOTE_ADDR") or ""
    return next((canonical(address) for address in (seen, behind) if _is_ip(address)), LOCAL)


@lru_cache(maxsize=4096)
def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(_bare(address))
    except ValueError:
        return False
    return True


def _bare(address: str) -> str:
    """Without a port, the brackets of a URL and the zone of a link-local address."""
    if address.count(":") == 1 or "]:" in address:
        address = address.rpartition(":")[0]
    return address.strip("[]").partition("%")[0]


@lru_cache(maxsize=4096)
def canonical(address: str) -> str:
    """An IP in its one spelling: IPv4 dotted, also when mapped into IPv6; IPv6 in full with dashes. Else the text."""
    try:
        ip = ipaddress.ip_address(_bare(address))
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ip.ipv4_mapped) if ip.ipv4_mapped else ip.exploded.replace(":", "-")
    return str(ip)


def _given_key(request: Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return request.headers.get("X-API-Key") or (token.strip() if scheme.lower() == "bearer" else "")


def _key_name(given: str, known: tuple[str, ...]) -> str:
    matches = [key for key in known if hmac.compare_digest(key.encode(), given.encode())]
    if not matches:
        raise Unauthorized("this service wants an API key; send it as X-API-Key or Authorization: Bearer")
    return "key-" + hashlib.sha256(matches[0].encode()).hexdigest()[:16]
