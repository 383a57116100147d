"""The client of an OpenAI-compatible server: concurrent requests with retries, and strict parsing of replies.

Anything that can't be parsed for certain is a fault, not an answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from baselines.llm.outside import (
    REPLACEMENT,
    SURE_SECRET,
    SURROGATES,
    check_certificates,
    clean,
    is_this_machine,
    one_line,
    proxy_variables,
    secrets_of,
    shown_address,
    unread_certificates,
)
from tasks.errors import ModelError
from tasks.task import ANSWERED_BY, JsonValue, TokenUsage

_log = logging.getLogger(__name__)
T = TypeVar("T")
Json = Mapping[str, Any]
TRY_AGAIN = frozenset({408, 409, 425, 429})
CONNECT_SECONDS = 10.0
MOST_BYTES = 8 << 20
"""Largest body of a reply: ten times the longest list of models, or a text of a million tokens."""
LONGEST_MESSAGE = 600
MOST_NAMES = 5
"""Most names of models in a server's replies that are told apart in warnings."""
LONGEST_NAME = 200
DEEPEST = 64
"""Most levels of nesting in a reply; the deepest valid reply has six."""
HEADERS = {
    # A kept-alive connection may hold surplus bytes, which would be read as the reply to the next request.
    "Connection": "close",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}


class ServerFaultError(ModelError):
    """A fault that may be temporary: worth another try.

    `away`: there was no answer at all. `hold`: seconds that the server asked to wait.
    """

    def __init__(self, message: str, *, away: bool = False, hold: float | None = None) -> None:
        super().__init__(message)
        self.away = away
        self.hold = hold


class LateError(ServerFaultError):
    """There was no answer within the time of one request."""


class RefusedError(ModelError):
    """The server refuses for good, so trying again is useless. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Patience:
    """Time-outs and retries for a server (our choice: no paper states these).

    `timeout`: seconds for one request. They double after each time-out, so that a slow server's work is not thrown away
    again and again, up to `away` if that is longer. `retries`: further tries after a fault; `away`: seconds that a
    server may be unreachable, or ask to wait, before requests fail; waits between tries grow to `longest_wait`.
    """

    timeout: float = 120.0
    retries: int = 4
    away: float = 300.0
    first_wait: float = 0.5
    longest_wait: float = 10.0

    def seconds(self, late: int) -> float:
        """Return the seconds for a request after `late` time-outs."""
        return min(self.timeout * 2.0**late, max(self.timeout, self.away))


class ApiClient:
    """Client of one server; many threads may share it, at most `concurrency` requests run at once.

    The key is sent in the header of requests only: it is cut out of every reply and message, and redirections are not
    followed. `where` is the address as messages show it. A reply that names one of the models in `strangers` as its
    author is a fault.
    """

    def __init__(self, base_url: str, key: str | None, patience: Patience, concurrency: int) -> None:
        self.base_url = _checked(base_url)
        self.root_url = self.base_url.removesuffix("/v1")
        self.where = shown_address(self.base_url)
        self.host = httpx2.URL(self.base_url).host
        self.strangers: frozenset[str] = frozenset()
        self._secrets = secrets_of(key, self.base_url)
        self._patience = patience
        self._slots = threading.BoundedSemaphore(concurrency)
        self._state = threading.Lock()
        self._silent_since: float | None = None
        self._last_heard = 0.0
        self._hold_until = 0.0
        self._named: set[str] = set()
        headers = HEADERS | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = _http_client(self.base_url, headers, min(patience.timeout, CONNECT_SECONDS), concurrency)

    def get(self, url: str) -> Json:
        """Send one GET without retries, to examine the server before any work."""
        return self._once("GET", url, None, lambda body: body, MOST_BYTES, self._patience.timeout)

    def post(self, url: str, body: Json, read: Callable[[Json], T], *, most_bytes: int = MOST_BYTES) -> T:
        """Return what `read` makes of the reply; if it raises ServerFaultError, the request is sent again.

        Raises RefusedError at once if trying again can't help, and ServerFaultError after the last try, also for
        a reply of more than `most_bytes`.
        """
        started, late = time.monotonic(), 0

        def attempt() -> T:
            nonlocal late
            try:
                return self._once("POST", url, body, read, most_bytes, self._patience.seconds(late))
            except LateError:
                late += 1
                raise

        retrying = Retrying(
            retry=retry_if_exception_type(ServerFaultError),
            stop=lambda state: self._give_up(state, started),
            wait=self._wait,
            before_sleep=_note,
            reraise=True,
        )
        return retrying(attempt)

    def shown(self, text: str) -> str:
        """Clean a server's own words for messages and records: one short line without the key."""
        return one_line(text, self._secrets)

    def _once(
        self, method: str, url: str, body: Json | None, read: Callable[[Json], T], most_bytes: int, seconds: float
    ) -> T:
        """Make one exchange; a fault's message has the client's words and the server's, cleaned."""
        self._wait_for_the_gate()
        try:
            with self._slots:
                answer = self._exchange(method, url, body, most_bytes, seconds)
            self._check_status(answer)
            reply = self._parsed(answer)
            self._check_reply(reply, body or {})
            return read(reply)
        except (ServerFaultError, RefusedError) as error:
            error.args = (one_line(str(error), self._secrets, LONGEST_MESSAGE),)
            raise

    def _exchange(self, method: str, url: str, body: Json | None, most_bytes: int, seconds: float) -> _Answer:
        """Send a request and receive the whole answer, with a distinct error for every way this can fail."""
        exchange = asyncio.run_coroutine_threadsafe(
            _exchange(self._http, method, url, _packed(body), seconds, most_bytes), _loop()
        )
        try:
            answer = exchange.result()
        except TimeoutError as error:
            self._heard(alive=False)
            message = f"{self.where} gave no answer within {seconds:g} s"
            raise LateError(f"{message}; a slow one needs a larger timeout or a smaller concurrency") from error
        except httpx2.RemoteProtocolError as error:
            # A server that hangs up may be restarting; one that does not speak HTTP never will.
            hung_up = "disconnected" in str(error)
            self._heard(alive=not hung_up)
            told = "can't be reached" if hung_up else "broke off or garbled its reply"
            message = f"{self.where} {told} ({type(error).__name__}: {_cause(error)})"
            raise ServerFaultError(message, away=hung_up) from error
        except httpx2.TransportError as error:
            self._heard(alive=False)
            message = f"{self.where} can't be reached ({type(error).__name__}: {_cause(error)})"
            raise ServerFaultError(message, away=True) from error
        except _TooLongError as error:
            self._heard(alive=True)
            raise ServerFaultError(f"{self.where} sent more than {most_bytes >> 20} MB for one reply") from error
        except zlib.error as error:
            raise ServerFaultError(f"{self.where} sent a body that can't be unpacked ({error})") from error
        finally:
            exchange.cancel()
        self._heard(alive=True)
        return answer

    def _parsed(self, answer: _Answer) -> Json:
        """Return the reply's JSON object, with characters that UTF-8 can't encode replaced and the key removed."""
        sure = [secret for secret in self._secrets if len(secret) >= SURE_SECRET]
        try:
            reply = _cleaned(_read_json(answer.text), sure)
        except _NestedError as error:
            raise ServerFaultError(f"{self.where} sent JSON nested deeper than {DEEPEST} levels") from error
        except ValueError as error:
            raise ServerFaultError(f"{self.where} sent malformed JSON: {self.shown(answer.text)!r}") from error
        if not isinstance(reply, dict):
            raise ServerFaultError(f"{self.where} sent something other than a JSON object: {self.shown(answer.text)!r}")
        return reply

    def _check_reply(self, reply: Json, asked: Json) -> None:
        """Detect an error sent as "200 OK", and a reply by another model than the one asked."""
        if reply.get("error") or reply.get("object") == "error":
            self._raise_told(reply)
        named, wanted = reply.get("model"), asked.get("model")
        if not isinstance(named, str) or not isinstance(wanted, str):
            return
        if named != wanted and named in self.strangers:
            raise ServerFaultError(f"{self.where} let model '{named}' answer where '{wanted}' was asked")
        with self._state:
            earlier = sorted(self._named)
            new = named not in self._named and len(earlier) < MOST_NAMES
            if new:
                self._named.add(named)
        if new and earlier:
            told = f"replies name the model '{named}', earlier ones '{earlier[0]}': another model may answer now"
            _log.warning("%s", self.shown(f"{self.where}: {told}"))
        elif new and not (named.startswith(wanted) or wanted.endswith(named)):
            _log.warning("%s", self.shown(f"{self.where}: replies name the model '{named}', '{wanted}' was asked"))

    def _raise_told(self, reply: Json) -> None:
        error = reply.get("error")
        codes = [found.get(name) for found in (error, reply) if isinstance(found, dict) for name in ("status", "code")]
        message = f"{self.where} answered with an error: {self.shown(told_in(reply)) or 'no details given'}"
        for code in codes:
            if type(code) is int and 400 <= code < 500 and code not in TRY_AGAIN:
                raise RefusedError(message, code)
        raise ServerFaultError(message)

    def _check_status(self, answer: _Answer) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        message = f"{self.where} answered {status}: {self.shown(_reason(answer.text))}"
        if 300 <= status < 400:
            there = answer.headers.get("location", "")
            message = f"{self.where} answered {status} and points to {shown_address(there) or 'no address'}"
            raise RefusedError(f"{message}; no redirection is followed: give the right base_url", status)
        if status == 429 and "insufficient_quota" in answer.text:
            raise RefusedError(message, status)
        if status not in TRY_AGAIN and 400 <= status < 500:
            raise RefusedError(message, status)
        hold = _retry_after(answer.headers.get("retry-after"))
        if hold is None:
            raise ServerFaultError(message)
        if hold <= self._patience.away:
            with self._state:
                self._hold_until = max(self._hold_until, time.monotonic() + hold)
        raise ServerFaultError(f"{message} (asks to wait {hold:g} s)", hold=hold)

    def _heard(self, *, alive: bool) -> None:
        """Note when the server was last heard and since when it has been silent, for all threads."""
        with self._state:
            if alive:
                self._silent_since = None
                self._last_heard = time.monotonic()
            elif self._silent_since is None:
                self._silent_since = time.monotonic()

    def _wait_for_the_gate(self) -> None:
        """Wait: a server that asked one request to wait means all of them."""
        time.sleep(max(0.0, self._hold_until - time.monotonic()))

    def _give_up(self, state: RetryCallState, started: float) -> bool:
        """Whether to give up: absence and requests to wait are limited in time, other faults in number.

        The clock of a silence is shared by all requests, so that once it has run out the next ones fail at their first
        try instead of waiting as long again. A request has a clock of its own only where the server answered others
        since it started.
        """
        fault = _fault(state)
        now = time.monotonic()
        with self._state:
            silent = 0.0 if self._silent_since is None else now - self._silent_since
            answers_others = self._last_heard > started
        if silent > self._patience.away:
            return True
        if fault.hold is not None or (fault.away and answers_others):
            return now + (fault.hold or 0.0) - started > self._patience.away
        return not fault.away and state.attempt_number > self._patience.retries

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_random_exponential(multiplier=self._patience.first_wait, max=self._patience.longest_wait)
        return (_fault(state).hold or 0.0) + backoff(state)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An HTTP answer: `text` is the body, decompressed, with undecodable bytes replaced."""

    status: int
    headers: httpx2.Headers
    text: str


class _TooLongError(Exception):
    """A body over its limit."""


class _NestedError(ValueError):
    """JSON nested too deeply."""


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all clients' exchanges, in its own thread, so that one can be cancelled at any point."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="requests-to-servers", daemon=True).start()
    return loop


os.register_at_fork(after_in_child=_loop.cache_clear)


async def _exchange(
    http: httpx2.AsyncClient, method: str, url: str, content: bytes | None, seconds: float, most_bytes: int
) -> _Answer:
    """Send one request and receive its answer within `seconds`, from the DNS lookup to the last byte."""
    async with asyncio.timeout(seconds), http.stream(method, url, content=content) as response:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most_bytes:
                raise _TooLongError
    unpacked = _unpacked(bytes(body), response.headers.get("content-encoding", ""), most_bytes)
    text = unpacked.decode(json.detect_encoding(unpacked), "replace")
    return _Answer(response.status_code, response.headers, text)


def _http_client(address: str, headers: Mapping[str, str], connect: float, concurrency: int) -> httpx2.AsyncClient:
    """Return the HTTP client for an address.

    Raises ModelError, naming the variable, for invalid proxies or certificates.
    """
    verify = _certificates(address)
    try:
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=connect),
            limits=httpx2.Limits(max_connections=concurrency, max_keepalive_connections=0),
            follow_redirects=False,
            verify=verify,
            trust_env=not is_this_machine(address),
        )
    except ImportError as error:
        raise ModelError(f"{_proxies()}: a SOCKS proxy needs the package socksio: pip install socksio") from error
    except (ValueError, httpx2.InvalidURL) as error:
        raise ModelError(f"{_proxies()}: not a proxy's address, which looks like http://HOST:PORT") from error


def _certificates(address: str) -> ssl.SSLContext:
    """Return the trusted certificates; an unencrypted address needs none, so none are loaded."""
    check_certificates()
    try:
        encrypted = address.lower().startswith("https:")
        return httpx2.create_ssl_context() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    except OSError as error:
        raise unread_certificates(error) from error


def _proxies() -> str:
    return " or ".join(f"${name}" for name in proxy_variables())


def _cause(error: BaseException) -> str:
    """Return the message of the first cause: "Connection refused" rather than "All connection attempts failed"."""
    words = str(error)
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause
        words = str(error) or words
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return words


def _packed(body: Json | None) -> bytes | None:
    """Encode a request's body; lone surrogates, which no server could read, are replaced."""
    if body is None:
        return None
    return SURROGATES.sub(REPLACEMENT, json.dumps(body, ensure_ascii=False, allow_nan=False)).encode()


def _unpacked(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Decompress a body that was compressed unasked. Raises zlib.error or _TooLongError."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise zlib.error(f"compressed as '{encoding}', which was not requested")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    unpacked = unpacker.decompress(body, most_bytes + 1)
    if len(unpacked) > most_bytes:
        raise _TooLongError
    if not unpacker.eof:
        raise zlib.error("it is truncated")
    return unpacked


def _read_json(text: str) -> object:
    """Parse JSON, refusing duplicate keys. Raises ValueError or _NestedError."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise _NestedError from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) and any(found[name] != value for name, value in pairs):
        raise ValueError("a key has two values")
    return found


def _cleaned(value: Any, secrets: list[str], depth: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON with all texts cleaned, except for control codes, which a prompt may hold."""
    if depth > DEEPEST:
        raise _NestedError
    if isinstance(value, str):
        return clean(value, secrets, controls=False)
    if isinstance(value, list):
        return [_cleaned(inner, secrets, depth + 1) for inner in value]
    if isinstance(value, dict):
        return {name: _cleaned(inner, secrets, depth + 1) for name, inner in value.items()}
    return value


def _checked(base_url: str) -> str:
    """Return the address without a final slash. Raises ModelError, showing no part of it, unless it is http(s)."""
    try:
        url = httpx2.URL(base_url)
    except (httpx2.InvalidURL, ValueError):
        url = httpx2.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ModelError("base_url must look like http://127.0.0.1:8000/v1")
    return base_url.rstrip("/")


def _fault(state: RetryCallState) -> ServerFaultError:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, ServerFaultError) else ServerFaultError("no outcome")


def _note(state: RetryCallState) -> None:
    _log.warning("%s; trying again (try %d)", _fault(state), state.attempt_number + 1)


def told_in(reply: object) -> str:
    """Return the message of an error reply from any of the usual places; empty if there is none."""
    if isinstance(reply, str):
        return reply
    if not isinstance(reply, dict):
        return ""
    found = [reply.get(name) for name in ("error", "message", "detail", "errors")]
    told = next((words for inner in found if (words := told_in(inner))), "")
    return told or next((json.dumps(inner, ensure_ascii=False) for inner in found if isinstance(inner, list)), "")


def _reason(text: str) -> str:
    """Return the message inside an error reply, or the reply unchanged."""
    try:
        return told_in(_cleaned(_read_json(text), [])) or text
    except ValueError:
        return text


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, given as a number or a date."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
        # A date without a zone, or with "-0000", is in UTC.
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


FINISHED = {"stop": True, "length": False}
TEXT_PARTS = frozenset({"text", "output_text"})
REASONING_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})
ID_PREFIX = "token_id:"
MOST_TOKENS = 1 << 40
ROUNDING = 1e-5
"""Our choice: a log-softmax in float32 may exceed 0 by this much."""
LARGEST, SMALLEST = 1e18, 1e-18
"""Our choice: entries of a vector whose squares overflow float32, and norms that count as zero."""
FLOOR = -9999.0
"""What vLLM's server writes for minus infinity: options that all have it would tie, and the first would be chosen."""


@dataclass(frozen=True, slots=True)
class Written:
    """A completion: its text, whether it ended by itself, the server's token counts, and separately sent reasoning.

    `author` is the name of the model that the reply says it is by.
    """

    text: str
    finished: bool
    usage: TokenUsage
    thought: str = ""
    author: str = ""


def read_completion(body: Json) -> Written:
    """Read the text of a `/completions` reply with one choice."""
    choice = _choices(body, 1)[0]
    return _written(choice.get("text"), choice, body)


def read_chat(body: Json) -> Written:
    """Read the text of a `/chat/completions` reply with one choice; separately sent reasoning is not part of it."""
    choice = _choices(body, 1)[0]
    message = choice.get("message")
    if not isinstance(message, dict):
        raise ServerFaultError("the server's reply has no message")
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and not message.get("content"):
        raise RefusedError(f"the model refused: {refusal}", 200)
    text, thought = _content(message.get("content")), _thought(message)
    if choice.get("finish_reason") != "length" and (text is None or (isinstance(text, str) and not text.strip())):
        if message.get("tool_calls") or message.get("function_call"):
            raise ServerFaultError("the model called a tool instead of writing an answer")
        if thought:
            raise ServerFaultError(f"the server sent an empty completion after {len(thought)} characters of reasoning")
    return replace(_written(text, choice, body), thought=thought)


def _thought(message: Mapping[str, Any]) -> str:
    """Return reasoning that the server sends separately, under any of its names."""
    apart = [message.get(name) for name in ("reasoning", "reasoning_content", "thinking")]
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in REASONING_PARTS:
            apart += [part.get(name) for name in ("text", "thinking", "reasoning")]
    return clean(next((text for text in apart if isinstance(text, str) and text.strip()), "")).strip()


def author_of(body: Json) -> str:
    """Return the model's name in a reply, if any: an alias is often answered by a dated version."""
    named = body.get("model")
    return named[:LONGEST_NAME] if isinstance(named, str) else ""


def author_note(author: str, asked: str) -> dict[str, JsonValue]:
    """Return the note of a reply whose author has another name than the model asked."""
    return {ANSWERED_BY: author} if author not in ("", asked) else {}


def read_usage(body: Json) -> TokenUsage:
    """Read the server's token counts; cached tokens only if it reports them (vLLM: --enable-prompt-tokens-details)."""
    usage = _part(body, "usage")
    cached = _part(usage, "prompt_tokens_details").get("cached_tokens")
    return TokenUsage(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))


def read_echoed(body: Json, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Read the log-likelihood (nats) of every prompt token but the first, for each prompt echoed with `logprobs`.

    Each choice has those of its prompt and of the one token generated after it. Raises RefusedError if the server
    echoes none: it can't score options. One token more or less shifts all of them, so it is a fault.
    """
    rows = []
    for choice, prompt in zip(_choices(body, len(prompts)), prompts, strict=True):
        logprobs = _part(choice, "logprobs")
        values = logprobs.get("token_logprobs")
        if not isinstance(values, list) or len(values) <= 1 < len(prompt):
            raise RefusedError("the server echoes no log-likelihoods of prompt tokens", 200)
        if len(values) != len(prompt) + 1:
            raise ServerFaultError(
                f"the server sent log-likelihoods of {len(values)} tokens where {len(prompt)} and one more were asked"
            )
        _check_tokens(logprobs.get("tokens"), prompt)
        rows.append([_logprob(value) for value in values[1 : len(prompt)]])
    return rows


def read_letters(body: Json, ids: Sequence[int]) -> list[float] | None:
    """Read the log-likelihoods of the tokens `ids` as the first token of a reply; None if some are missing."""
    tops = _part(_choices(body, 1)[0], "logprobs").get("top_logprobs")
    if not isinstance(tops, list) or not tops or not isinstance(tops[0], dict):
        return None
    first = tops[0]
    names = {token: f"{ID_PREFIX}{token}" for token in ids}
    if not all(name in first for name in names.values()):
        return None
    if len(tops) != 1:
        raise ServerFaultError(f"the server sent log-likelihoods of {len(tops)} tokens where one was asked for")
    return [_logprob(first[names[token]]) for token in ids]


def read_chat_letters(body: Json, ids: Sequence[int]) -> list[float] | None:
    """Do the same as `read_letters` for a `/chat/completions` reply."""
    choice = _choices(body, 1)[0]
    _finished(choice)
    content = _part(choice, "logprobs").get("content")
    if not isinstance(content, list) or len(content) != 1 or not isinstance(content[0], dict):
        return None
    tops = content[0].get("top_logprobs")
    rows = [content[0], *(row for row in (tops if isinstance(tops, list) else ()) if isinstance(row, dict))]
    told = {row["token"]: row.get("logprob") for row in rows if isinstance(row.get("token"), str)}
    names = [f"{ID_PREFIX}{token}" for token in ids]
    return [_logprob(told[name]) for name in names] if all(name in told for name in names) else None


def read_prompt_logprobs(body: Json, ids: Sequence[int]) -> list[float]:
    """Read the log-likelihoods of a prompt's last tokens `ids` from `prompt_logprobs` of `/chat/completions`.

    Raises RefusedError if the server sends none, ServerFaultError if they are of other tokens.
    """
    _finished(_choices(body, 1)[0])
    rows = body.get("prompt_logprobs")
    if not isinstance(rows, list):
        raise RefusedError("the server sends no log-likelihoods of prompt tokens", 200)
    last = rows[-len(ids) :]
    found = [row.get(str(token)) if isinstance(row, dict) else None for row, token in zip(last, ids, strict=False)]
    if len(last) != len(ids) or not all(isinstance(entry, dict) for entry in found):
        raise ServerFaultError("the server sent log-likelihoods of tokens other than those asked for")
    return [_logprob(entry.get("logprob")) for entry in found if isinstance(entry, dict)]


def read_embeddings(body: Json, count: int, dimensions: int | None) -> list[list[float]]:
    """Return the vectors of an `/embeddings` reply in the order asked for, each with `dimensions` entries if given.

    Raises ServerFaultError if there are more or fewer than `count`, or one has another length, an entry that is not a
    finite number, or norm zero.
    """
    vectors = []
    for place, row in enumerate(_indexed(body, "data", "embedding", count)):
        found = row.get("embedding")
        if not isinstance(found, list) or not found:
            raise ServerFaultError(f"the server's embedding {place} is not a list of numbers: {_shown(found)}")
        if dimensions is not None and len(found) != dimensions:
            raise ServerFaultError(
                f"the server's embedding {place} has {len(found)} dimensions where earlier ones have {dimensions}"
            )
        if wrong := [value for value in found if type(value) not in (int, float) or not abs(value) < LARGEST]:
            raise ServerFaultError(
                f"the server's embedding {place} has an entry that is not a finite number: {_shown(wrong[0])}"
            )
        if math.hypot(*found) < SMALLEST:
            raise ServerFaultError(f"the server's embedding {place} is zero: it has no direction")
        vectors.append([float(value) for value in found])
    return vectors


def _part(body: Json, name: str) -> Mapping[str, Any]:
    """Return an object within another, or an empty one."""
    found = body.get(name)
    return found if isinstance(found, dict) else {}


def _check_tokens(told: object, prompt: Sequence[int]) -> None:
    """Check that token ids sent by the server, if any, are the prompt's."""
    if not isinstance(told, list) or not all(isinstance(t, str) and t.startswith(ID_PREFIX) for t in told):
        return
    if told[: len(prompt)] != [f"{ID_PREFIX}{token}" for token in prompt]:
        raise ServerFaultError("the server sent log-likelihoods of tokens other than those asked for")


def _choices(body: Json, count: int) -> list[Mapping[str, Any]]:
    """Return the choices in order of their index; there must be as many as asked for, each once."""
    return _indexed(body, "choices", "choice", count)


def _indexed(body: Json, name: str, one: str, count: int) -> list[Mapping[str, Any]]:
    """Return the objects in the list `name` in order of their index; there must be as many as asked for, each once."""
    rows = body.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        told = told_in(body)
        raise ServerFaultError(f"the server's reply has no {name}{f': {told}' if told else ''}")
    if len(rows) != count:
        raise ServerFaultError(f"the server's reply has {len(rows)} {name} where {count} were asked for")
    by_index: dict[int, Mapping[str, Any]] = {}
    for place, row in enumerate(rows):
        index = row.get("index")
        index = place if index is None else index
        if type(index) is not int:
            raise ServerFaultError(f"the server's reply has a {one} whose index is not a whole number: {_shown(index)}")
        if index in by_index or not 0 <= index < count:
            twice = "twice" if index in by_index else f"where {count} were asked for"
            raise ServerFaultError(f"the server's reply has {one} {index} {twice}")
        by_index[index] = row
        if row.get("error"):
            raise ServerFaultError(f"the server's reply holds an error: {told_in(row) or _shown(row['error'])}")
    return [by_index[place] for place in range(count)]


def _content(content: object) -> object:
    """Join a message's text if it comes in parts; parts that hold reasoning are left out."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = str(part.get("type")) if isinstance(part, dict) else None
        if kind in REASONING_PARTS:
            continue
        text = part.get("text") if kind in TEXT_PARTS else None
        if not isinstance(text, str):
            raise ServerFaultError(f"the server's reply has a part that is not text: {_shown(part)}")
        texts.append(text)
    return "".join(texts)


def _finished(choice: Mapping[str, Any]) -> bool:
    """Whether a reply ended by itself. Raises RefusedError or ServerFaultError if it was stopped."""
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise RefusedError("the server's content filter stopped the reply", 200)
    finished = FINISHED.get(reason) if isinstance(reason, str) else None
    if finished is None:
        raise ServerFaultError(f"the server ended the reply for an unknown reason ({_shown(reason)})")
    return finished


def _written(text: object, choice: Mapping[str, Any], body: Json) -> Written:
    finished = _finished(choice)
    if text is None:
        text = ""
    if not isinstance(text, str):
        raise ServerFaultError(f"the server's reply has no text: {_shown(text)}")
    if finished and not text.strip():
        raise ServerFaultError("the server sent an empty completion")
    return Written(clean(text), finished, read_usage(body), author=author_of(body))


def _shown(value: object) -> str:
    """Format a value of the wrong kind for a message."""
    return one_line(repr(value), longest=80)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else 0


def _logprob(value: object) -> float:
    """Check a log-likelihood: a finite number, not positive beyond rounding errors."""
    number = float(value) if type(value) is float or (type(value) is int and abs(value) <= MOST_TOKENS) else math.nan
    if not math.isfinite(number):
        raise ServerFaultError(f"the server sent a log-likelihood that is not a number: {_shown(value)}")
    if number <= FLOOR:
        raise ServerFaultError(f"the server sent a log-likelihood of {number:g}, which stands for an infinite one")
    if number > ROUNDING:
        raise ServerFaultError(f"the server sent a log-likelihood above 0, which is impossible: {_shown(value)}")
    return min(number, 0.0)
