"""Finding a model behind an OpenAI-compatible server: its address, the key, what it can do."""

from __future__ import annotations

import os

from baselines.llm.api_client import ApiClient, Patience, RefusedError, ServerFaultError
from baselines.llm.limits import context_limit
from baselines.llm.options import Serving
from baselines.llm.prompt_writer import PromptWriter
from baselines.llm.served_llm import ServedLanguageModel, ServedModel
from baselines.llm.server_writer import find_writer
from tasks.errors import ModelError
from tasks.model import ModelInfo
from tasks.task import JsonValue

BASE_URL = "OPENAI_BASE_URL"
WRONG_KEY = "is the server's key in the variable that -M key_from= names?"
HINTS = {401: WRONG_KEY, 403: WRONG_KEY, 404: "does base_url end in /v1?"}


def load_served(model: str, serving: Serving, *, context: int | None, scoring: bool) -> ServedLanguageModel:
    """Look at the server and check that it has the model; with `scoring` also that it can weigh options.

    Raises ModelError, naming the server, where it is not there, refuses the key or lacks the model.
    """
    address = serving.base_url or os.environ.get(BASE_URL)
    if not address:
        raise ModelError(f"llm 'openai:{model}' needs its server: -M base_url=http://HOST:PORT/v1 or ${BASE_URL}")
    patience = Patience(timeout=serving.timeout, retries=serving.retries, away=serving.patience)
    client = ApiClient(address, read_key(serving.key_from), patience, serving.concurrency)
    served = look_up(client, model)
    writer = _writer(client, model, serving.tokenizer)
    limit = context_limit(model, served.context, context)
    details: dict[str, JsonValue] = {
        "engine": f"vllm {served.vllm}" if served.vllm else "OpenAI-compatible server",
        "server": client.host,
        "context": limit,
        **(writer.details if writer else {"chat_format": "the server's own", "token_counts": "estimated"}),
    }
    info = ModelInfo(name=model, device="served", details=details)
    llm = ServedLanguageModel(client, served, info, limit, writer, serving.concurrency)
    if scoring:
        llm.check_scoring()
    return llm


def read_key(variable: str) -> str | None:
    """The key, from the environment alone. Raises ModelError, not showing it, where no header could hold it."""
    key = os.environ.get(variable, "").strip()
    if not variable.isidentifier():
        raise ModelError("key_from names the environment variable that holds the key, never the key itself")
    if not key.isascii() or not key.isprintable():
        raise ModelError(f"the key in ${variable} holds characters that no key has")
    return key or None


def look_up(client: ApiClient, model: str) -> ServedModel:
    """What the server says of the model. Raises ModelError where it is not there or lacks the model."""
    try:
        listed = client.get(f"{client.base_url}/models").get("data")
    except ServerFaultError as error:
        raise ModelError(f"llm 'openai:{model}': {error}; is the server running, and base_url right?") from error
    except RefusedError as error:
        hint = HINTS.get(error.status)
        raise ModelError(f"llm 'openai:{model}': {error}{f'; {hint}' if hint else ''}") from error
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    by_name = {row["id"]: row for row in rows if isinstance(row.get("id"), str)}
    if model not in by_name:
        shown = ", ".join(map(client.shown, list(by_name)[:5])) or "none"
        raise ModelError(f"{client.where} serves no model '{model}'; it serves: {shown}")
    row = by_name[model]
    root = row.get("root")
    # A server may know one model by several names.
    same = {name for name, other in by_name.items() if root and other.get("root") == root}
    client.strangers = frozenset(by_name) - same - {model}
    longest = row.get("max_model_len")
    return ServedModel(
        name=model,
        context=longest if type(longest) is int and longest > 0 else None,
        vllm=_vllm_version(client) if row.get("owned_by") == "vllm" else None,
    )


def _vllm_version(client: ApiClient) -> str:
    try:
        version = client.get(f"{client.root_url}/version").get("version")
    except (RefusedError, ServerFaultError):
        return "?"
    return client.shown(version) if isinstance(version, str) and version else "?"


def _writer(client: ApiClient, model: str, tokenizer: str | None) -> PromptWriter | None:
    if tokenizer is None:
        return find_writer(client, model)
    try:
        from baselines.llm.chat_format import load_writer
    except ImportError as error:
        raise ModelError("-M tokenizer= needs transformers: pip install 'longvid[llm]'") from error
    return load_writer(tokenizer)
