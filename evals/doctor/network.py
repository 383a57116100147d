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

from evals.doctor.check import Check

HUB, HUB_VARIABLE, OFFLINE = "https://huggingface.co", "HF_ENDPOINT", "HF_HUB_OFFLINE"
SERVER_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
SECONDS = 5.0
MOST_BYTES = 1 << 20
MODELS_SHOWN = 3
T = TypeVar("T")


class UnreachableError(Exception):
    """Why there was no usable answer."""


def hub_check() -> Check:
    """The hub that weights and tokenizers come from; any answer of its will do."""
    if os.environ.get(OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Check("hub", ok=False, found=f"not asked: {OFFLINE} is set", optional=True)
    url = os.environ.get(HUB_VARIABLE) or HUB
    try:
        in_time(lambda: get(url))
    except UnreachableError as error:
        return Check("hub", ok=False, found=f"{url}: {error}", optional=True)
    return Check("hub", ok=True, found=url, optional=True)


def server_check(url: str | None) -> Check:
    """The language models behind an OpenAI-compatible server (`vllm serve`), named or in the environment."""
    address = url or os.environ.get(SERVER_VARIABLE)
    if not address:
        return Check(
            "LLM server", ok=False, found=f"none named (doctor --server URL, or {SERVER_VARIABLE})", optional=True
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        rows = json.loads(in_time(lambda: get(f"{address.rstrip('/')}/models", headers)))["data"]
        names = [str(row["id"]) for row in rows]
    except UnreachableError as error:
        return Check("LLM server", ok=False, found=f"{address}: {error}", optional=True)
    except (ValueError, TypeError, KeyError):
        return Check("LLM server", ok=False, found=f"{address} answers, but lists no models", optional=True)
    shown = ", ".join(names[:MODELS_SHOWN]) or "no model"
    return Check("LLM server", ok=bool(names), found=f"{address} serves {shown}", optional=True)


def get(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """What an address answers, whatever its status. Raises UnreachableError."""
    if not url.startswith(("https://", "http://")):
        raise UnreachableError("no web address")
    try:
        request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - the scheme is checked above
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:  # noqa: S310
            return str(reply.read(MOST_BYTES).decode("utf-8", "replace"))
    except urllib.error.HTTPError as error:
        return f"status {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
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
