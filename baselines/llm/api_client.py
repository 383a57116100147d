"""Requests to an OpenAI-compatible server: time-outs, retries, rate limits. A fault is never an answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from tasks.errors import ModelError

_log = logging.getLogger(__name__)
T = TypeVar("T")
Json = Mapping[str, Any]
TRY_AGAIN = frozenset({408, 409, 425, 429})
SHOWN = 300
CONNECT_SECONDS = 10.0


class ServerFaultError(ModelError):
    """Something that may pass: worth another try.

    `away`: nobody answered at all. `hold`: seconds the server asked to wait.
    """

    def __init__(self, message: str, *, away: bool = False, hold: float | None = None) -> None:
        super().__init__(message)
        self.away = away
        self.hold = hold


class RefusedError(ModelError):
    """The server won't do this, however often it is asked. `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to bear with a server (ours: no paper states these).

    `timeout`: seconds for one request; `retries`: further tries after a fault; `away`: seconds that a server
    may be unreachable, or ask to wait, before requests fail; waits between tries grow to `longest_wait`.
    """

    timeout: float = 120.0
    retries: int = 4
    away: float = 300.0
    first_wait: float = 0.5
    longest_wait: float = 10.0


class ApiClient:
    """Asks one server; many threads may ask at once, of which `concurrency` reach it together.

    The key goes into the header of requests and nowhere else: it is cut out of every message.
    """

    def __init__(self, base_url: str, key: str | None, patience: Patience, concurrency: int) -> None:
        self.base_url = _checked(base_url)
        self.root_url = self.base_url.removesuffix("/v1")
        self._key = key
        self._patience = patience
        self._slots = threading.BoundedSemaphore(concurrency)
        self._state = threading.Lock()
        self._silent_since: float | None = None
        self._hold_until = 0.0
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(patience.timeout, connect=min(patience.timeout, CONNECT_SECONDS)),
            limits=httpx2.Limits(max_connections=concurrency),
        )

    @property
    def where(self) -> str:
        """The server's address as messages show it: no user name, password or query."""
        url = httpx2.URL(self.base_url)
        return str(url.copy_with(username=None, password=None, query=None, fragment=None))

    def get(self, url: str) -> Json:
        """One try, for a look at the server before any work."""
        return self._once("GET", url, None, lambda body: body)

    def post(self, url: str, body: Json, read: Callable[[Json], T]) -> T:
        """What `read` finds in the reply; a reply it calls a ServerFaultError is asked for again.

        Raises RefusedError at once where asking again can't help, and ServerFaultError after the last try.
        """
        started = time.monotonic()
        retrying = Retrying(
            retry=retry_if_exception_type(ServerFaultError),
            stop=lambda state: self._give_up(state, started),
            wait=self._wait,
            before_sleep=_note,
            reraise=True,
        )
        found: T = retrying(self._once, "POST", url, body, read)
        return found

    def _once(self, method: str, url: str, body: Json | None, read: Callable[[Json], T]) -> T:
        """One exchange, every way it can fail told apart."""
        self._wait_for_the_gate()
        try:
            with self._slots:
                response = self._http.request(method, url, json=body)
        except (httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
            self._heard(alive=False)
            raise ServerFaultError(f"{self.where} gave no answer within {self._patience.timeout:g} s") from error
        except httpx2.TransportError as error:
            self._heard(alive=False)
            message = f"{self.where} can't be reached ({type(error).__name__}: {self._clean(str(error))})"
            raise ServerFaultError(message, away=True) from error
        except httpx2.DecodingError as error:
            raise ServerFaultError(f"{self.where} sent a body that can't be unpacked") from error
        self._heard(alive=True)
        self._check_status(response)
        try:
            reply = response.json()
        except ValueError as error:
            raise ServerFaultError(f"{self.where} sent malformed JSON: {self._clean(response.text)!r}") from error
        if not isinstance(reply, dict):
            raise ServerFaultError(f"{self.where} sent no JSON object: {self._clean(response.text)!r}")
        return read(reply)

    def _check_status(self, response: httpx2.Response) -> None:
        status = response.status_code
        if status < 300:
            return
        message = f"{self.where} answered {status}: {self._clean(_reason(response))}"
        if status == 429 and "insufficient_quota" in response.text:
            raise RefusedError(message, status)
        if status not in TRY_AGAIN and status < 500:
            raise RefusedError(message, status)
        hold = _retry_after(response)
        if hold is None:
            raise ServerFaultError(message)
        if hold <= self._patience.away:
            with self._state:
                self._hold_until = max(self._hold_until, time.monotonic() + hold)
        raise ServerFaultError(f"{message} (asks to wait {hold:g} s)", hold=hold)

    def _heard(self, *, alive: bool) -> None:
        """Remember since when the server has been silent, for all threads alike."""
        with self._state:
            if alive:
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = time.monotonic()

    def _wait_for_the_gate(self) -> None:
        """A server that asked one request to wait means all of them."""
        time.sleep(max(0.0, self._hold_until - time.monotonic()))

    def _give_up(self, state: RetryCallState, started: float) -> bool:
        """Absence and requests to wait are bounded in time, other faults in number.

        The clock of a silence runs for all requests together, so that once it has run out the next ones fail
        at their first try instead of waiting as long again.
        """
        fault = _fault(state)
        now = time.monotonic()
        with self._state:
            silent = 0.0 if self._silent_since is None else now - self._silent_since
        if silent > self._patience.away:
            return True
        if fault.away or fault.hold is not None:
            return now + (fault.hold or 0.0) - started > self._patience.away
        return state.attempt_number > self._patience.retries

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_random_exponential(multiplier=self._patience.first_wait, max=self._patience.longest_wait)
        return (_fault(state).hold or 0.0) + backoff(state)

    def _clean(self, text: str) -> str:
        """A server's own words, short and without the key."""
        shown = " ".join(text.split())
        if self._key:
            shown = shown.replace(self._key, "***")
        return shown[:SHOWN]


def _checked(base_url: str) -> str:
    """The address without a final slash. Raises ModelError unless it is an http(s) one."""
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL as error:
        raise ModelError(f"base_url is no address: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ModelError("base_url must look like http://127.0.0.1:8000/v1")
    return base_url.rstrip("/")


def _fault(state: RetryCallState) -> ServerFaultError:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, ServerFaultError) else ServerFaultError("no outcome")


def _note(state: RetryCallState) -> None:
    _log.warning("%s; trying again (try %d)", _fault(state), state.attempt_number + 1)


def _reason(response: httpx2.Response) -> str:
    """The message inside an error reply, or the reply as it is."""
    try:
        found = response.json()["error"]
        return str(found["message"] if isinstance(found, dict) else found)
    except (ValueError, KeyError, TypeError):
        return response.text


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or a date."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
