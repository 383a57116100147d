"""Language models run by vLLM in this process: batched, with a prefix cache that all prompts share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from vllm import SamplingParams
from vllm.inputs import TokensPrompt
from vllm.sampling_params import StructuredOutputsParams

from baselines.llm.limits import check_max_tokens
from baselines.llm.prompt_writer import PromptWriter, letters_of, write_prompts, write_scoring
from baselines.llm.protocol import Chat, ContinuationScores, Reply
from encoders.causal_lm.scoring import ScoringTokens
from tasks.errors import ModelError
from tasks.model import Appetite, ModelInfo
from tasks.task import TokenUsage

FINISHED = {"stop": True, "length": False}


class Engine(Protocol):
    """The part of `vllm.LLM` that is used."""

    def generate(self, prompts: Any, sampling_params: Any, *, use_tqdm: bool) -> list[Any]:  # noqa: ANN401 - vLLM's
        """A `RequestOutput` for each prompt, in order."""
        ...


class VllmLanguageModel:
    """Speaks the LanguageModel protocol through `vllm.LLM`; all chats of a call are processed together."""

    def __init__(self, engine: Engine, writer: PromptWriter, info: ModelInfo, context: int, batch: int) -> None:
        self._engine = engine
        self._writer = writer
        self._info = info
        self._context = context
        self._batch = batch

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def appetite(self) -> Appetite:
        return Appetite(batch=self._batch)

    @property
    def context(self) -> int:
        return self._context

    def count_tokens(self, chat: Chat) -> int:
        return len(self._writer.encode(self._writer.render(chat)))

    def generate(self, chats: Sequence[Chat], max_tokens: int) -> list[Reply]:
        check_max_tokens(max_tokens)
        prompts = write_prompts(self._writer, chats, max_tokens, context=self._context, model=self._info.name)
        params = [
            SamplingParams(
                temperature=0.0,
                max_tokens=max_tokens,
                structured_outputs=StructuredOutputsParams(choice=list(chat.choices)) if chat.choices else None,
            )
            for chat in chats
        ]
        return [_reply(output) for output in self._ask(prompts, params)]

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
        """Continuations of one token each take one pass; longer ones one each, behind the cached prompt.

        `usage.prompt` counts the prompt once for each pass. Raises ModelError as the protocol says.
        """
        written = write_scoring(self._writer, chats, continuations, context=self._context, model=self._info.name)
        letters = [(place, ids) for place, tokens in enumerate(written) if (ids := letters_of(tokens)) is not None]
        longer = [place for place, tokens in enumerate(written) if letters_of(tokens) is None]
        scores = dict(zip([place for place, _ in letters], self._score_letters(written, letters), strict=True))
        scores |= dict(zip(longer, self._score_longer([written[place] for place in longer]), strict=True))
        for place, score in scores.items():
            if not all(math.isfinite(value) for value in score.logprobs):
                raise ModelError(f"chat {place}: '{self._info.name}' gave a log-likelihood that is not finite")
        return [scores[place] for place in range(len(written))]

    def _score_letters(
        self, written: Sequence[ScoringTokens], letters: Sequence[tuple[int, tuple[int, ...]]]
    ) -> list[ContinuationScores]:
        prompts = [list(written[place].prompt) for place, _ in letters]
        params = [_letter_params(ids) for _, ids in letters]
        return [
            ContinuationScores(
                tuple(output.outputs[0].logprobs[0][token].logprob for token in ids),
                (1,) * len(ids),
                TokenUsage(len(prompt), output.num_cached_tokens or 0, len(ids)),
            )
            for output, prompt, (_, ids) in zip(self._ask(prompts, params), prompts, letters, strict=True)
        ]

    def _score_longer(self, written: Sequence[ScoringTokens]) -> list[ContinuationScores]:
        """Every continuation behind its prompt; those whose own tokens came from the cache are computed again.

        vLLM gives log-likelihoods only for what it computes, and by default therefore reads no cache for such
        requests. Only the continuations' are wanted here, so the prompt may come from the cache and they may not.
        """
        pairs = [(tokens.prompt, ids) for tokens in written for ids in tokens.continuations]
        prompts = [[*prompt, *ids] for prompt, ids in pairs]
        outputs = self._ask(prompts, [_echo_params(cached=True)] * len(prompts))
        again = [at for at, (prompt, _) in enumerate(pairs) if (outputs[at].num_cached_tokens or 0) >= len(prompt)]
        fresh = self._ask([prompts[at] for at in again], [_echo_params(cached=False)] * len(again))
        for at, output in zip(again, fresh, strict=True):
            outputs[at] = output
        totals = [_total(output, prompt, ids) for output, (prompt, ids) in zip(outputs, pairs, strict=True)]
        scores, at = [], 0
        for tokens in written:
            span = slice(at, at + len(tokens.continuations))
            at = span.stop
            counts = tuple(len(ids) for ids in tokens.continuations)
            cached = sum(output.num_cached_tokens or 0 for output in outputs[span])
            usage = TokenUsage(len(counts) * len(tokens.prompt), cached, sum(counts))
            scores.append(ContinuationScores(tuple(totals[span]), counts, usage))
        return scores

    def _ask(self, prompts: Sequence[Sequence[int]], params: Sequence[SamplingParams]) -> list[Any]:
        if not prompts:
            return []
        asked = [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts]
        return self._engine.generate(asked, list(params), use_tqdm=False)


def _letter_params(ids: Sequence[int]) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=list(ids), detokenize=False)


def _echo_params(*, cached: bool) -> SamplingParams:
    return SamplingParams(
        temperature=0.0, max_tokens=1, prompt_logprobs=0, skip_reading_prefix_cache=not cached, detokenize=False
    )


def _total(output: Any, prompt: Sequence[int], ids: Sequence[int]) -> float:  # noqa: ANN401 - vLLM's RequestOutput
    """The summed log-likelihood of `ids` behind `prompt`; every entry must be that very token's."""
    entries = output.prompt_logprobs[len(prompt) : len(prompt) + len(ids)]
    if len(entries) != len(ids) or any(token not in entry for token, entry in zip(ids, entries, strict=True)):
        raise ModelError("vLLM gave no log-likelihoods of the continuation's tokens")
    return float(sum(entry[token].logprob for token, entry in zip(ids, entries, strict=True)))


def _reply(output: Any) -> Reply:  # noqa: ANN401 - vLLM's RequestOutput
    written = output.outputs[0]
    if written.finish_reason not in FINISHED:
        raise ModelError(f"vLLM ended the reply for no usable reason ({written.finish_reason})")
    usage = TokenUsage(len(output.prompt_token_ids), output.num_cached_tokens or 0, len(written.token_ids))
    return Reply(written.text, FINISHED[written.finish_reason], usage)
