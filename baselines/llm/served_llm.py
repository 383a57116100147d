"""Language models behind an OpenAI-compatible server: `vllm serve`, others of its kind, hosted ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

from baselines.llm.api_client import MOST_BYTES, ApiClient, RefusedError
from baselines.llm.api_replies import Written, read_chat, read_completion, read_echoed, read_letters, read_usage
from baselines.llm.limits import check_max_tokens, check_room, describe_chat
from baselines.llm.prompt_writer import PromptWriter, letters_of, write_prompts, write_scoring
from baselines.llm.protocol import Chat, ContinuationScores, Reply
from baselines.llm.server_writer import PROBE, messages_of
from encoders.causal_lm.scoring import ScoringTokens
from tasks.errors import ModelError
from tasks.model import Appetite, ModelInfo
from tasks.task import TokenUsage

BYTES_PER_TOKEN = 3  # ours: English text has 4 to 5, so a prompt is rather thinned than refused
TOKENS_PER_MESSAGE = 8
ECHO_BYTES_PER_TOKEN = 512  # ours: vLLM's replies take some 150 for a token with its log-likelihood
GREEDY = {"temperature": 0, "presence_penalty": 0, "frequency_penalty": 0}
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as its server describes it: its longest context, where told, and vLLM's version, where it is vLLM."""

    name: str
    context: int | None
    vllm: str | None


class ServedLanguageModel:
    """Speaks the LanguageModel protocol through a server; threads may share it.

    With a `writer`, prompts go out as token ids, the same ones that every other engine gets; without, the
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
    ) -> None:
        self._client = client
        self._served = served
        self._info = info
        self._context = context
        self._writer = writer
        self._lanes = lanes

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def appetite(self) -> Appetite:
        return Appetite(lanes=self._lanes)

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        """Without a tokenizer an estimate on the safe side: one per three bytes (ours)."""
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
            return self._side_by_side(lambda pair: self._reply_to_messages(*pair, max_tokens), list(enumerate(chats)))
        prompts = write_prompts(self._writer, chats, max_tokens, context=self._context, model=self._info.name)
        pairs = list(zip(chats, prompts, strict=True))
        return self._side_by_side(lambda pair: self._reply_to_tokens(*pair, max_tokens), pairs)

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Continuations of one token each take one pass; longer ones a pass each, in one request.

        Raises ModelError where the server can't weigh given text.
        """
        if self._writer is None:
            raise self._cannot_score("it tells no tokens (no /tokenize, and no -M tokenizer=)")
        written = write_scoring(self._writer, chats, continuations, context=self._context, model=self._info.name)
        return self._side_by_side(self._score_one, written)

    def check_scoring(self) -> None:
        """Raise ModelError, naming what works instead, where the server can't weigh given text."""
        try:
            self.score([PROBE], [[" one two", " three"]])
        except RefusedError as error:
            raise self._cannot_score(str(error)) from error

    def _cannot_score(self, why: str) -> ModelError:
        return ModelError(
            f"{self._client.where} can't weigh options: {why}. options-loglik and letter-logprob need a server with "
            f"prompt log-likelihoods (vllm serve), llm vllm:… or transformers:…; here the route generate+parse works"
        )

    def _side_by_side(self, ask: Callable[[A], B], items: Sequence[A]) -> list[B]:
        if len(items) <= 1 or self._lanes == 1:
            return [ask(item) for item in items]
        with ThreadPool(min(self._lanes, len(items))) as pool:
            return pool.map(ask, items, chunksize=1)

    def _reply_to_tokens(self, chat: Chat, prompt: list[int], max_tokens: int) -> Reply:
        body = {"model": self._served.name, "prompt": prompt, "max_tokens": max_tokens, **GREEDY, **self._extra(chat)}
        written = self._client.post(f"{self._client.base_url}/completions", body, read_completion)
        return self._checked_reply(chat, written, len(prompt))

    def _reply_to_messages(self, index: int, chat: Chat, max_tokens: int) -> Reply:
        if chat.reply_start:
            raise ModelError(f"{self._client.where} takes no begun replies: give -M tokenizer= or use vllm serve")
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
        return self._checked_reply(chat, written, estimate)

    def _extra(self, chat: Chat) -> dict[str, Any]:
        """What only vLLM knows; a published generation config may carry a penalty that greedy decoding lacks."""
        if not self._served.vllm:
            return {}
        guided = {"structured_outputs": {"choice": list(chat.choices)}} if chat.choices else {}
        return {"repetition_penalty": 1.0, **guided}

    def _checked_reply(self, chat: Chat, written: Written, prompt: int) -> Reply:
        if chat.choices and written.finished and written.text.strip() not in chat.choices:
            raise ModelError(f"{self._client.where} did not hold the reply to the choices: {written.text[:40]!r}")
        usage = written.usage if written.usage.prompt else TokenUsage(prompt, 0, written.usage.completion)
        return Reply(written.text, written.finished, usage)

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
        rows, usage = self._client.post(
            f"{self._client.base_url}/completions",
            body,
            lambda reply: (read_echoed(reply, prompts), read_usage(reply)),
            most_bytes=MOST_BYTES + ECHO_BYTES_PER_TOKEN * sum(map(len, prompts)),
        )
        lengths = tuple(len(ids) for ids in tokens.continuations)
        totals = tuple(sum(row[start - 1 : start - 1 + n]) for row, n in zip(rows, lengths, strict=True))
        return ContinuationScores(totals, lengths, TokenUsage(start * len(lengths), usage.cached, sum(lengths)))

    def _score_letters(self, tokens: ScoringTokens, letters: tuple[int, ...]) -> ContinuationScores | None:
        """All letters from the prompt's one pass; None where the server's vLLM is too old to tell them."""
        body = {
            "model": self._served.name,
            "prompt": list(tokens.prompt),
            "max_tokens": 1,
            "logprobs": 1,
            "logprob_token_ids": list(letters),
            "return_tokens_as_token_ids": True,
            **GREEDY,
        }
        found, usage = self._client.post(
            f"{self._client.base_url}/completions",
            body,
            lambda reply: (read_letters(reply, letters), read_usage(reply)),
        )
        if found is None:
            return None
        return ContinuationScores(
            tuple(found), (1,) * len(letters), TokenUsage(len(tokens.prompt), usage.cached, len(letters))
        )
