"""What can be reached: asked once, with a short patience, and never needed."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from queue import Empty, Queue
from threading import Thread
from types import MappingProxyType
from typing import TypeVar

from baselines.llm.outside import (
    basic,
    check_certificates,
    is_this_machine,
    one_line,
    secrets_of,
    shown_address,
    split_login,
)
from evals.doctor.check import Check
from tasks.errors import ModelError

HUB, HUB_VARIABLE, OFFLINE = "https://huggingface.co", "HF_ENDPOINT", "HF_HUB_OFFLINE"
SERVER_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
SECONDS = 5.0
MOST_BYTES = 8 << 20
MODELS_SHOWN = 3
T = TypeVar("T")


class UnreachableError(Exception):
    """Why there was no usable answer."""


def hub_check() -> Check:
    """The hub that weights and tokenizers come from; any answer of its will do."""
    if os.environ.get(OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Check("hub", ok=False, found=f"not asked: {OFFLINE} is set", optional=True)
    url = os.environ.get(HUB_VARIABLE) or HUB
    where = shown_address(url)
    try:
        in_time(lambda: get(url))
    except UnreachableError as error:
        return Check("hub", ok=False, found=f"{where}: {one_line(str(error), secrets_of(None, url))}", optional=True)
    return Check("hub", ok=True, found=where, optional=True)


def server_check(url: str | None) -> Check:
    """The language models behind an OpenAI-compatible server (`vllm serve`), named or in the environment."""
    address = url or os.environ.get(SERVER_VARIABLE)
    if not address:
        return Check(
            "LLM server", ok=False, found=f"none named (doctor --server URL, or {SERVER_VARIABLE})", optional=True
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    secrets = secrets_of(key or None, address)
    where, reply = shown_address(address), ""
    try:
        reply = in_time(lambda: get(f"{address.rstrip('/')}/models", headers))
        names = [one_line(row["id"], secrets) for row in json.loads(reply)["data"]]
    except UnreachableError as error:
        return Check("LLM server", ok=False, found=f"{where}: {one_line(str(error), secrets)}", optional=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        said = f" ({one_line(reply, secrets)})" if reply.strip() else ""
        return Check("LLM server", ok=False, found=f"{where} answers, but lists no models{said}", optional=True)
    shown = ", ".join(names[:MODELS_SHOWN]) or "no model"
    return Check("LLM server", ok=bool(names), found=f"{where} serves {shown}", optional=True)


class AnyStatus(urllib.request.HTTPErrorProcessor):
    """Every status is an answer. No redirection is followed: the key goes nowhere but where it was sent."""

    def http_response(self, _: urllib.request.Request, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        return response

    https_response = http_response  # type: ignore[assignment]  # typeshed's is less precise


def opener(address: str) -> urllib.request.OpenerDirector:
    """Opens an address, through the environment's proxy unless it is this machine's own."""
    own = is_this_machine(address)
    handlers = [urllib.request.HTTPHandler(), urllib.request.UnknownHandler(), AnyStatus()]
    if not own:
        handlers.append(urllib.request.ProxyHandler())
    if not own or address.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler())
    found = urllib.request.OpenerDirector()
    for handler in handlers:
        found.add_handler(handler)
    return found


def get(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """What an address answers, whatever its status. Raises UnreachableError."""
    if not url.startswith(("https://", "http://")):
        raise UnreachableError("no web address")
    address, login = split_login(url)
    if login:
        headers = {**headers, "Authorization": f"Basic {basic(login)}"}
    try:
        check_certificates()
        request = urllib.request.Request(address, headers=dict(headers))  # noqa: S310 - the scheme is checked above
        with opener(address).open(request, timeout=SECONDS) as reply:
            said = str(reply.read(MOST_BYTES).decode("utf-8", "replace"))
            return said if 200 <= reply.status < 300 else f"status {reply.status}: {said}"
    except (OSError, http.client.HTTPException, ValueError, ModelError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(" ".join(str(reason).split()) or type(error).__name__) from error


def in_time(ask: Callable[[], T]) -> T:
    """The answer, or UnreachableError when there is none in time: looking up a name knows no time-out of its own."""
    answers: Queue[T | UnreachableError] = Queue()

    def work() -> None:
        try:
            answers.put(ask())
        except UnreachableError as error:
            answers.put(error)

    Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=SECONDS)
    except Empty:
        raise UnreachableError(f"no answer within {SECONDS:g} s") from None
    if isinstance(answer, UnreachableError):
        raise answer
    return answer
