"""A language model behind an OpenAI-compatible server: how it is found, what it can do, and how it is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

from baselines.llm.client import (
    MOST_BYTES,
    ApiClient,
    Json,
    Patience,
    RefusedError,
    ServerFaultError,
    Written,
    author_note,
    author_of,
    read_chat,
    read_completion,
    read_echoed,
    read_letters,
    read_usage,
)
from baselines.llm.options import Serving
from baselines.llm.protocol import (
    Chat,
    ContinuationScores,
    PromptWriter,
    Reply,
    check_max_tokens,
    check_room,
    context_limit,
    describe_chat,
    letters_of,
    write_prompts,
    write_scoring,
)
from encoders.causal_lm.scoring import ScoringTokens
from encoders.control_tokens import neutral
from tasks.errors import ModelError
from tasks.model import BatchHint, ModelInfo
from tasks.task import JsonValue, TokenUsage

PROBE = Chat(user="Which letter?", system="Be brief.")
NO_SUCH_ROUTE = frozenset({404, 405, 501})
CACHED_TEXTS = 1024


class ServerWriter:
    """A PromptWriter that asks `/tokenize` and `/detokenize`; each text is requested only once."""

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
        return self._client.post(f"{self._client.root_url}/tokenize", {"model": self._model, **asked}, read_tokens)


def find_writer(client: ApiClient, model: str) -> ServerWriter | None:
    """Return the server as a writer, None if it has no `/tokenize`.

    Raises ModelError if a rendered prompt does not tokenise back to the same tokens.
    """
    writer = ServerWriter(client, model)
    url = f"{client.root_url}/tokenize"
    asked = {"model": model, "messages": messages_of(PROBE), "add_generation_prompt": True}
    try:
        ids = client.post(url, asked, read_tokens)
    except RefusedError as error:
        if error.status in NO_SUCH_ROUTE:
            return None
        raise
    if writer.encode(writer.render(PROBE)) != ids:
        raise ModelError(f"{client.where}: prompts don't survive its tokenizer; give -M tokenizer=FOLDER_OR_NAME")
    return writer


def messages_of(chat: Chat) -> list[dict[str, str]]:
    """Return a chat as the API's messages, without a tokenizer to tell text from control tokens."""
    system = [{"role": "system", "content": neutral(chat.system)}] if chat.system else []
    return [*system, {"role": "user", "content": neutral(chat.user)}]


def read_tokens(body: Json) -> list[int]:
    """Read the tokens of `/tokenize`. Raises ServerFaultError if there are none."""
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


BYTES_PER_TOKEN = 3  # our choice: English text has 4 to 5, so prompts are thinned early, not refused
TOKENS_PER_MESSAGE = 8
CHARACTERS_PER_TOKEN = 8  # our choice: no language's texts have as many, so that a prompt of fewer tokens was cut off
ECHO_BYTES_PER_TOKEN = 512  # our choice: vLLM's replies take about 150 for a token with its log-likelihood
GREEDY = {"temperature": 0, "presence_penalty": 0, "frequency_penalty": 0}
A = TypeVar("A")
B = TypeVar("B")


def side_by_side(ask: Callable[[A], B], items: Sequence[A], *, lanes: int) -> list[B]:
    """Return the answers to items in order, asking at most `lanes` at a time."""
    if len(items) <= 1 or lanes == 1:
        return [ask(item) for item in items]
    with ThreadPool(min(lanes, len(items))) as pool:
        return pool.map(ask, items, chunksize=1)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as its server describes it: its context length, if given, and vLLM's version, if it is vLLM.

    `root` is what the server loaded, if it tells it.
    """

    name: str
    context: int | None
    vllm: str | None
    root: str | None = None

    @property
    def facts(self) -> dict[str, JsonValue]:
        """Return what the record keeps of what stands behind the name: with other weights it is another run."""
        return {"served_from": self.root} if self.root else {}


class ServedLanguageModel:
    """Implements the LanguageModel protocol through a server; threads may share it.

    With a `writer`, prompts go out as token ids, the same as for every other engine; without, the
    server gets messages, and only `generate` works.
    """

    def __init__(
        self,
        client: ApiClient,
        served: ServedModel,
        info: ModelInfo,
        context: int,
        writer: PromptWriter | None,
        lanes: int,
        *,
        check_prompt: bool = True,
    ) -> None:
        self._client = client
        self._served = served
        self._info = info
        self._context = context
        self._writer = writer
        self._lanes = lanes
        self._check_prompt = check_prompt

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def batch_hint(self) -> BatchHint:
        return BatchHint(lanes=self._lanes)

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        """Count tokens; without a tokenizer, a safe estimate of one per three bytes (our choice)."""
        if self._writer is not None:
            return len(self._writer.encode(self._writer.render(chat)))
        texts = [chat.user, chat.system, chat.reply_start]
        return sum(
            ceil(len(text.encode("utf-8", "replace")) / BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE for text in texts if text
        )

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        check_max_tokens(max_tokens)
        if any(chat.choices for chat in chats) and not self._served.vllm:
            raise ModelError(f"guided choice needs a vLLM server, which {self._client.where} is not")
        if self._writer is None:
            return side_by_side(
                lambda pair: self._reply_to_messages(*pair, max_tokens), list(enumerate(chats)), lanes=self._lanes
            )
        prompts = write_prompts(self._writer, chats, max_tokens, context=self._context, model=self._info.name)
        pairs = list(zip(chats, prompts, strict=True))
        return side_by_side(lambda pair: self._reply_to_tokens(*pair, max_tokens), pairs, lanes=self._lanes)

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Score continuations: single tokens in one pass, longer ones in a pass each, in one request.

        Raises ModelError if the server can't score given text.
        """
        if self._writer is None:
            raise self._cannot_score("it gives no token ids (no /tokenize, and no -M tokenizer=)")
        written = write_scoring(self._writer, chats, continuations, context=self._context, model=self._info.name)
        return side_by_side(self._score_one, written, lanes=self._lanes)

    def check_scoring(self) -> None:
        """Raise ModelError, naming what works instead, if the server can't score given text."""
        try:
            self.score([PROBE], [[" one two", " three"]])
        except RefusedError as error:
            raise self._cannot_score(str(error)) from error

    def _cannot_score(self, why: str) -> ModelError:
        return ModelError(
            f"{self._client.where} can't score options: {why}. options-loglik and letter-logprob need a server with "
            f"prompt log-likelihoods (vllm serve), llm vllm:… or transformers:…; here the route generate+parse works"
        )

    def _reply_to_tokens(self, chat: Chat, prompt: list[int], max_tokens: int) -> Reply:
        body = {"model": self._served.name, "prompt": prompt, "max_tokens": max_tokens, **GREEDY, **self._extra(chat)}
        written = self._client.post(f"{self._client.base_url}/completions", body, read_completion)
        if self._check_prompt:
            check_whole(self._client.where, written.usage, len(prompt))
        return self._checked_reply(chat, written, len(prompt))

    def _reply_to_messages(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        if chat.reply_start:
            raise ModelError(
                f"{self._client.where} can't continue a started reply: give -M tokenizer= or use vllm serve"
            )
        estimate = self.count_tokens(chat)
        item = describe_chat(index, chat)
        check_room(item, estimate, max_tokens, "the reply", context=self._context, model=self._info.name)
        body = {
            "model": self._served.name,
            "messages": messages_of(chat),
            "max_tokens": max_tokens,
            **GREEDY,
            **self._extra(chat),
        }
        written = self._client.post(f"{self._client.base_url}/chat/completions", body, read_chat)
        if self._check_prompt:
            check_words_read(self._client.where, written.usage, (chat.user, chat.system))
        return self._checked_reply(chat, written, estimate)

    def _extra(self, chat: Chat) -> dict[str, Any]:
        """Return vLLM-only fields; a published generation config may have a penalty that greedy decoding lacks."""
        if not self._served.vllm:
            return {}
        guided = {"structured_outputs": {"choice": list(chat.choices)}} if chat.choices else {}
        return {"repetition_penalty": 1.0, **guided}

    def _checked_reply(self, chat: Chat, written: Written, prompt: int) -> Reply:
        if chat.choices and written.finished and written.text.strip() not in chat.choices:
            raise ModelError(f"{self._client.where} did not hold the reply to the choices: {written.text[:40]!r}")
        usage = written.usage if written.usage.prompt else TokenUsage(prompt, 0, written.usage.completion)
        return Reply(written.text, written.finished, usage, notes=author_note(written.author, self._served.name))

    def _score_one(self, tokens: ScoringTokens) -> ContinuationScores:
        letters = letters_of(tokens)
        if letters is not None and self._served.vllm:
            scores = self._score_letters(tokens, letters)
            if scores is not None:
                return scores
        start = len(tokens.prompt)
        prompts = [[*tokens.prompt, *ids] for ids in tokens.continuations]
        body = {
            "model": self._served.name,
            "prompt": prompts,
            "max_tokens": 1,
            "echo": True,
            "logprobs": 0 if self._served.vllm else 1,
            **({"return_tokens_as_token_ids": True} if self._served.vllm else {}),
            **GREEDY,
        }
        rows, usage, author = self._client.post(
            f"{self._client.base_url}/completions",
            body,
            lambda reply: (read_echoed(reply, prompts), read_usage(reply), author_of(reply)),
            most_bytes=MOST_BYTES + ECHO_BYTES_PER_TOKEN * sum(map(len, prompts)),
        )
        lengths = tuple(len(ids) for ids in tokens.continuations)
        totals = tuple(sum(row[start - 1 : start - 1 + n]) for row, n in zip(rows, lengths, strict=True))
        spent = TokenUsage(start * len(lengths), usage.cached, sum(lengths))
        return ContinuationScores(totals, lengths, spent, author_note(author, self._served.name))

    def _score_letters(self, tokens: ScoringTokens, letters: tuple[int, ...]) -> ContinuationScores | None:
        """Score all letters in one pass of the prompt; None if the server's vLLM is too old to report them."""
        body = {
            "model": self._served.name,
            "prompt": list(tokens.prompt),
            "max_tokens": 1,
            "logprobs": 1,
            "logprob_token_ids": list(letters),
            "return_tokens_as_token_ids": True,
            **GREEDY,
        }
        found, usage, author = self._client.post(
            f"{self._client.base_url}/completions",
            body,
            lambda reply: (read_letters(reply, letters), read_usage(reply), author_of(reply)),
        )
        if found is None:
            return None
        if self._check_prompt:
            check_whole(self._client.where, usage, len(tokens.prompt))
        spent = TokenUsage(len(tokens.prompt), usage.cached, len(letters))
        return ContinuationScores(tuple(found), (1,) * len(letters), spent, author_note(author, self._served.name))


def check_whole(where: str, usage: TokenUsage, prompt: int, about: str = "") -> None:
    """Raise ModelError if a server read fewer tokens than the prompt has: some silently cut it to their context.

    `usage` is the server's count; without one nothing is checked.
    """
    if 0 < usage.prompt < prompt:
        raise ModelError(
            f"{where} read {usage.prompt} tokens of a prompt of {about}{prompt}: it cuts prompts off; raise its "
            f"context (num_ctx in Ollama), or lower -M context=; if it only leaves cached tokens out of its count, "
            f"""give -M engine='{{"check_prompt": false}}'"""
        )


def check_words_read(where: str, usage: TokenUsage, texts: Sequence[str]) -> None:
    """Check the same of a prompt whose tokens are not known, by the fewest that its words can have."""
    characters = sum(len(" ".join(text.split())) for text in texts)
    check_whole(where, usage, characters // CHARACTERS_PER_TOKEN, "at least ")


BASE_URL = "OPENAI_BASE_URL"
WRONG_KEY = "is the server's key in the variable that -M key_from= names?"
HINTS = {401: WRONG_KEY, 403: WRONG_KEY, 404: "does base_url end in /v1?"}


def load_served(model: str, serving: Serving, *, context: int | None, scoring: bool) -> ServedLanguageModel:
    """Connect to the server and check that it has the model; with `scoring` also that it can score options.

    Raises ModelError, naming the server, if it can't be reached, refuses the key or lacks the model.
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
        **served.facts,
        "context": limit,
        **(writer.details if writer else {"chat_format": "the server's own", "token_counts": "estimated"}),
    }
    info = ModelInfo(name=model, device="served", details=details)
    llm = ServedLanguageModel(
        client, served, info, limit, writer, serving.concurrency, check_prompt=serving.check_prompt
    )
    if scoring:
        llm.check_scoring()
    return llm


def read_key(variable: str) -> str | None:
    """Read the key from the environment. Raises ModelError, without showing the key, if no header could hold it."""
    key = os.environ.get(variable, "").strip()
    if not variable.isidentifier():
        raise ModelError("key_from names the environment variable that holds the key, never the key itself")
    if not key.isascii() or not key.isprintable():
        raise ModelError(f"the key in ${variable} holds characters that no key can have")
    return key or None


def look_up(client: ApiClient, model: str, asked: str = "") -> ServedModel:
    """Ask the server about the model. Raises ModelError if it can't be reached or lacks the model.

    `asked` is the option as the user typed it, if that is not `llm=openai:`.
    """
    asked = asked or f"llm 'openai:{model}'"
    try:
        listed = client.get(f"{client.base_url}/models").get("data")
    except ServerFaultError as error:
        raise ModelError(
            f"{asked}: {error}; is the server running (vLLM loads for minutes before it answers), and base_url right?"
        ) from error
    except RefusedError as error:
        hint = HINTS.get(error.status)
        raise ModelError(f"{asked}: {error}{f'; {hint}' if hint else ''}") from error
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    by_name = {row["id"]: row for row in rows if isinstance(row.get("id"), str)}
    if model not in by_name:
        shown = ", ".join(map(client.shown, list(by_name)[:5])) or "none"
        raise ModelError(f"{client.where} serves no model '{model}'; it serves: {shown}")
    row = by_name[model]
    root = row.get("root")
    # A server may list one model under several names.
    same = {name for name, other in by_name.items() if root and other.get("root") == root}
    client.strangers = frozenset(by_name) - same - {model}
    longest = row.get("max_model_len")
    return ServedModel(
        name=model,
        context=longest if type(longest) is int and longest > 0 else None,
        vllm=_vllm_version(client) if row.get("owned_by") == "vllm" else None,
        root=_root(client, root) if isinstance(root, str) else None,
    )


def _root(client: ApiClient, root: str) -> str:
    """Return the name or address of weights; of a path the end, since a record names no place on anyone's machine."""
    path = root.startswith(("/", "~", ".")) or "\\" in root
    return client.shown("/".join(root.replace("\\", "/").rstrip("/").split("/")[-2:]) if path else root)


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
        from baselines.llm.local import load_writer
    except ImportError as error:
        raise ModelError("-M tokenizer= needs transformers: pip install 'longvid[llm]'") from error
    return load_writer(tokenizer)
