"""Prompts written by the tokenizer of a vLLM server, asked over HTTP, where there is none at hand."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from baselines.llm.api_client import ApiClient, Json, RefusedError, ServerFaultError
from baselines.llm.protocol import Chat
from encoders.control_tokens import neutral
from tasks.errors import ModelError
from tasks.task import JsonValue

PROBE = Chat(user="Which letter?", system="Be brief.")
NO_SUCH_ROUTE = frozenset({404, 405, 501})
CACHED_TEXTS = 1024


class ServerWriter:
    """A PromptWriter that asks `/tokenize` and `/detokenize`; the same text is asked for once."""

    def __init__(self, client: ApiClient, model: str) -> None:
        self._client = client
        self._model = model
        self.encode = lru_cache(CACHED_TEXTS)(self._encode)
        self._opening = lru_cache(CACHED_TEXTS)(self._render)

    @property
    def details(self) -> Mapping[str, JsonValue]:
        return {"chat_format": "the server's template"}

    def render(self, chat: Chat) -> str:
        return self._opening(chat.system, chat.user) + neutral(chat.reply_start)

    def _render(self, system: str, user: str) -> str:
        messages = messages_of(Chat(user=user, system=system))
        ids = self._tokens({"messages": messages, "add_generation_prompt": True})
        return self._client.post(
            f"{self._client.root_url}/detokenize", {"model": self._model, "tokens": ids}, _read_prompt
        )

    def quote(self, text: str) -> str:
        return neutral(text)

    def _encode(self, text: str) -> list[int]:
        return self._tokens({"prompt": text, "add_special_tokens": False}) if text else []

    def _tokens(self, asked: Json) -> list[int]:
        return self._client.post(f"{self._client.root_url}/tokenize", {"model": self._model, **asked}, _read_tokens)


def find_writer(client: ApiClient, model: str) -> ServerWriter | None:
    """The server as a writer, None where it offers no `/tokenize`.

    Raises ModelError where a rendered prompt would not give back its own tokens.
    """
    writer = ServerWriter(client, model)
    url = f"{client.root_url}/tokenize"
    asked = {"model": model, "messages": messages_of(PROBE), "add_generation_prompt": True}
    try:
        ids = client.post(url, asked, _read_tokens)
    except RefusedError as error:
        if error.status in NO_SUCH_ROUTE:
            return None
        raise
    if writer.encode(writer.render(PROBE)) != ids:
        raise ModelError(f"{client.where}: prompts don't survive its tokenizer; give -M tokenizer=FOLDER_OR_NAME")
    return writer


def messages_of(chat: Chat) -> list[dict[str, str]]:
    """A chat as the API's messages; the server's tokenizer is not at hand to tell text from control tokens."""
    system = [{"role": "system", "content": neutral(chat.system)}] if chat.system else []
    return [*system, {"role": "user", "content": neutral(chat.user)}]


def _read_tokens(body: Json) -> list[int]:
    tokens, count = body.get("tokens"), body.get("count")
    if not isinstance(tokens, list) or not tokens or not all(type(token) is int and token >= 0 for token in tokens):
        raise ServerFaultError("the server's /tokenize sent no tokens")
    if type(count) is int and count != len(tokens):
        raise ServerFaultError(f"the server's /tokenize sent {len(tokens)} tokens and counted {count}")
    return tokens


def _read_prompt(body: Json) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise ServerFaultError("the server's /detokenize sent no text")
    return prompt
