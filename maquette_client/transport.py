"""Requests to one service: its address and nothing beyond it, errors in our words, patience where it is safe."""

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from maquette_client.errors import MaquetteError

CONNECT_S = 10.0
_LONGEST_PAUSE_S = 3.0


class _Session(requests.Session):
    """Takes the API key off a request that is sent on to another host: requests knows only Authorization."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        if self.should_strip_auth(response.request.url, prepared_request.url):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("X-API-Key", None)


class Transport:
    """Requests to one service. Threads may share it; each has connections of its own.

    Raises:
        ValueError: `url` is not an http address.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"the service's address is {url!r}; write it as http://host:port")
        self.url = url.rstrip("/") + "/"
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._local = threading.local()

    def call(self, method: str, path: str, retry_s: float = 0, **more: Any) -> requests.Response:
        """The service's answer, when it is a good one.

        Args:
            path: below the service's address, with or without a leading slash.
            retry_s: how long to try again while the service is away or overloaded. Only for what may be repeated.
            more: as for requests.
        Raises:
            MaquetteError: it refused or did not answer.
        """
        deadline = time.monotonic() + retry_s
        for pause in _pauses():
            try:
                return self._once(method, path, **more)
            except MaquetteError as error:
                pause = max(pause, error.retry_after_s or 0)
                if not error.transient or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
        raise AssertionError("the pauses never end")

    def _once(self, method: str, path: str, **more: Any) -> requests.Response:
        more.setdefault("timeout", (min(CONNECT_S, self._timeout_s), self._timeout_s))
        try:
            answer = self._session().request(method, self._address(path), **more)
        except requests.RequestException as error:
            raise self.lost(error) from error
        if answer.ok and (more.get("stream") or framed(answer)):
            return answer
        with answer:
            if answer.ok:
                raise self.lost(requests.ConnectionError("its answer was cut off"))
            raise _refusal(method, path, answer)

    def told(self, method: str, path: str, retry_s: float = 0, **more: Any) -> Any:
        """The JSON in the answer.

        Raises:
            MaquetteError: also when there is none.
        """
        answer = self.call(method, path, retry_s, **more)
        try:
            return answer.json()
        except requests.JSONDecodeError as error:
            raise MaquetteError(f"{self.url} answers, but not as Maquette does", code="not_maquette") from error

    def lost(self, error: Exception) -> MaquetteError:
        """A broken or refused connection in our words."""
        return MaquetteError(f"{self.url} does not answer: {_reason(error)}", code="unreachable")

    def _session(self) -> requests.Session:
        found: requests.Session | None = getattr(self._local, "session", None)
        if found is None:
            found = self._local.session = _Session()
            if self._api_key:
                found.headers["X-API-Key"] = self._api_key
        return found

    def _address(self, path: str) -> str:
        """Below our service, whatever an answer claimed: the API key goes to nobody else."""
        parts = urlsplit(path)
        if parts.scheme or parts.netloc or "\\" in path:
            raise MaquetteError(f"the service names the address {path!r}, which is not its own", code="bad_name")
        return urljoin(self.url, "./" + path.lstrip("/"))


def framed(answer: requests.Response) -> bool:
    """Whether the answer says where it ends. One whose headers were cut off does not, and looks good otherwise."""
    known = ("Content-Length", "Transfer-Encoding")
    return answer.status_code == 204 or any(name in answer.headers for name in known)


def _pauses() -> Iterator[float]:
    pause = 0.2
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _refusal(method: str, path: str, answer: requests.Response) -> MaquetteError:
    told: Any = None
    if "json" in answer.headers.get("Content-Type", ""):
        try:
            told = answer.json()
        except requests.JSONDecodeError:
            pass  # a proxy's broken page says no more than the status does
    told = told if isinstance(told, dict) else {}
    message = told.get("error") or f"{method} /{path.lstrip('/')}: HTTP {answer.status_code}"
    return MaquetteError(str(message), answer.status_code, str(told.get("code", "")), _seconds(answer))


def _seconds(answer: requests.Response) -> float | None:
    """Retry-After, where it is a number; a date is as good as nothing with clocks that differ."""
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _reason(error: BaseException) -> str:
    """The system's own words inside the wrappings of two libraries."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return "it took too long" if isinstance(error, requests.Timeout) else str(error)
