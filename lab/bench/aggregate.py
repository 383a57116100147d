"""Cost of the language model in an aggregator: ours against a call per option, or against sequential calls.

A local model scores a question's options from one pass over its prompt; the baseline reads the prompt again for each
option. A served model gets as many concurrent requests as it likes; the baseline waits for each reply. Other engines
can be timed beside ours: vLLM, which gets all questions at once, and llama.cpp, which scores the same tokens from a
GGUF file, with one pass over the prompt as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.aggregator import CaptionComposer, SegmentRule
from baselines.captions import load_captions
from baselines.llm.local import TransformersLanguageModel
from baselines.llm.protocol import Chat, ContinuationScores, LanguageModel
from baselines.material import Thin
from baselines.prompted import Ask
from encoders.causal_lm.scoring import ScoringTokens
from evals.benchmarks import benchmark_folder
from evals.planning import spread
from evals.runner import run_batches
from lab.bench.peers import needed
from lab.bench.result import Comparison, Facts, Measured, NotMeasuredError, Result, Way, clocked, in_turn
from tasks.egoschema import PROMPTS, load_egoschema
from tasks.machine import machine_facts
from tasks.multiple_choice import loglik_request
from tasks.prompt import load_prompt
from tasks.registry import benchmarks
from tasks.task import TokenUsage

OURS, EACH_OPTION, ONE_BY_ONE = "ours", "a call for every option", "one call after the other"
LLAMA_CPP = "llama.cpp"
LLAMA_BATCH = 512
REPLY_TOKENS = 32


@runtime_checkable
class BothWays(Protocol):
    """A language model that can score either way."""

    def score(self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]: ...

    def score_from_scratch(
        self, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]
    ) -> list[ContinuationScores]: ...


@runtime_checkable
class Forgetting(Protocol):
    """A language model that keeps prompts it has read."""

    def forget(self) -> None: ...


Scoring: TypeAlias = Callable[[], list[ContinuationScores]]


def bench_aggregate(
    llm: LanguageModel,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
    repeats: int,
    done: Callable[[str], None],
    *,
    gguf: Path | None = None,
    beside: Mapping[str, LanguageModel] | None = None,
) -> Result:
    """Time both ways alternately on the same chats; or ours, llama.cpp on `gguf`, and the models `beside` it.

    Each gets all the chats of a round at once. A row's facts say in how many questions the best option is that of our
    way and how far apart the means are (nats). Raises ValueError without chats.
    """
    if not chats:
        raise ValueError("nothing to compare: no chats")
    if gguf is not None or beside:
        ways = engines(llm, gguf, beside or {}, chats, continuations)
        comparison = compare_scoring(ways, repeats, done)
    elif isinstance(llm, BothWays):
        llm.score(chats[:1], continuations[:1])
        ours, each = partial(llm.score, chats, continuations), partial(llm.score_from_scratch, chats, continuations)
        comparison = compare_scoring({OURS: ours, EACH_OPTION: each}, repeats, done)
    else:
        comparison = compare_lanes(llm, chats, repeats, done)
    settings: Facts = {"llm": llm.info.name, "dtype": llm.info.dtype, "questions": len(chats), "repeats": repeats}
    return Result("aggregate", machine_facts(llm.info.device), settings, (comparison,))


def engines(
    llm: LanguageModel,
    gguf: Path | None,
    beside: Mapping[str, LanguageModel],
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
) -> dict[str, Scoring]:
    """Return our model and each engine beside it, warmed up by a chat that is none of these.

    Raises NotMeasuredError where llama.cpp can't be compared: its tokens are those of a model that transformers runs.
    """
    models = {OURS: llm, **beside}
    ways: dict[str, Scoring] = {name: partial(anew, model, chats, continuations) for name, model in models.items()}
    if gguf is not None:
        if not isinstance(llm, TransformersLanguageModel):
            raise NotMeasuredError(
                f"llama.cpp is compared with a model that transformers runs here, not '{llm.info.name}'"
            )
        written = zip(chats, continuations, strict=True)
        asked = [llm.scoring_tokens(chat, texts, "a question") for chat, texts in written]
        longest = max(len(one.prompt) + max(map(len, one.continuations)) for one in asked)
        peer = LlamaCpp(gguf, longest, torch.get_num_threads())
        ways[LLAMA_CPP] = lambda: [peer.score(tokens) for tokens in asked]
    for model in models.values():
        model.score([replace(chats[0], user="Is it a warm day?")], continuations[:1])
    return ways


def anew(llm: LanguageModel, chats: Sequence[Chat], continuations: Sequence[Sequence[str]]) -> list[ContinuationScores]:
    """Score the chats without what an earlier round left in the model's cache."""
    if isinstance(llm, Forgetting):
        llm.forget()
    return llm.score(chats, continuations)


def compare_scoring(ways: Mapping[str, Scoring], repeats: int, done: Callable[[str], None]) -> Comparison:
    """Time every way of scoring the same questions, and compare its results with those of the first."""
    reference: list[ContinuationScores] = []

    def timed(score: Scoring) -> Measured:
        found: list[ContinuationScores] = []
        measured = clocked(lambda: found.extend(score()))()
        if score is first:
            reference[:] = found
        return replace(measured, facts={"s a question": measured.seconds / len(found), **agreement(reference, found)})

    first = next(iter(ways.values()))
    timed_ways: dict[str, Way] = {name: partial(timed, score) for name, score in ways.items()}
    compared = in_turn("options weighed", timed_ways, repeats, done, warm_up=False)
    facts: Facts = {"questions": len(reference), "prompt_tokens": sum(scores.usage.prompt for scores in reference)}
    return replace(compared, work=f"options of {len(reference)} questions weighed", facts=facts)


def agreement(ours: Sequence[ContinuationScores], theirs: Sequence[ContinuationScores]) -> Facts:
    """Count the questions with the same best option, and give the largest difference of means (nats)."""
    pairs = list(zip(ours, theirs, strict=True))
    apart = [abs(a - b) for mine, other in pairs for a, b in zip(mine.means, other.means, strict=True)]
    return {
        "same_choices": sum(best(mine) == best(other) for mine, other in pairs),
        "largest_difference": max(apart),
    }


class LlamaCpp:
    """A GGUF file in llama.cpp that scores continuations; a prefix shared with the previous prompt stays cached."""

    def __init__(self, gguf: Path, context: int, threads: int) -> None:
        self._api: Any = needed("llama_cpp", "llama-cpp-python")
        try:
            self._model = self._api.Llama(
                str(gguf), n_ctx=context, n_batch=LLAMA_BATCH, n_threads=threads, n_threads_batch=threads, verbose=False
            )
        except (ValueError, OSError) as error:
            raise NotMeasuredError(f"llama.cpp can't read {gguf}: {error}") from error
        self._read: tuple[int, ...] = ()

    def score(self, tokens: ScoringTokens) -> ContinuationScores:
        """Score the continuations of one prompt."""
        prompt = tokens.prompt
        # The last token is always processed again: its logits score the first token of each continuation.
        same = next((at for at, (a, b) in enumerate(zip(prompt[:-1], self._read, strict=False)) if a != b), None)
        start = min(len(self._read), len(prompt) - 1) if same is None else same
        behind: list[NDArray[np.float64]] = []
        for at in range(start, len(prompt), LLAMA_BATCH):
            behind = self._decode(prompt[at : at + LLAMA_BATCH], at, every=False)
        self._read = prompt
        totals = []
        for ids in tokens.continuations:
            rows = [behind[-1], *(self._decode(ids[:-1], len(prompt), every=True) if len(ids) > 1 else ())]
            totals.append(float(sum(row[token] for row, token in zip(rows, ids, strict=True))))
        counts = tuple(map(len, tokens.continuations))
        return ContinuationScores(tuple(totals), counts, TokenUsage(len(prompt), start, sum(counts)))

    def _decode(self, ids: Sequence[int], at: int, *, every: bool) -> list[NDArray[np.float64]]:
        """Return log-likelihoods [vocabulary] after each token or the last; the cache is cut at `at` first."""
        api, context = self._api, self._model.ctx
        api.llama_memory_seq_rm(api.llama_get_memory(context), 0, at, -1)
        batch = api.llama_batch_init(len(ids), 0, 1)
        try:
            batch.n_tokens = len(ids)
            for place, token in enumerate(ids):
                batch.token[place], batch.pos[place] = token, at + place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = every or place == len(ids) - 1
            if api.llama_decode(context, batch) != 0:
                raise NotMeasuredError("llama.cpp can't read the prompt")
            told = range(len(ids)) if every else [len(ids) - 1]
            size = self._model.n_vocab()
            rows = [np.ctypeslib.as_array(api.llama_get_logits_ith(context, place), (size,)) for place in told]
            return [row.astype(np.float64) - np.logaddexp.reduce(row.astype(np.float64)) for row in rows]
        finally:
            api.llama_batch_free(batch)


def best(scores: ContinuationScores) -> int:
    """Return the option with the highest mean log-likelihood."""
    return scores.means.index(max(scores.means))


def compare_lanes(
    llm: LanguageModel,
    chats: Sequence[Chat],
    repeats: int,
    done: Callable[[str], None],
) -> Comparison:
    """Time short replies to all chats: in the model's own lanes, and sequentially."""
    batch_hint = llm.batch_hint
    ask = partial(llm.generate, max_tokens=REPLY_TOKENS)

    def lanes() -> None:
        for _ in run_batches(ask, chats, batch=batch_hint.batch, lanes=batch_hint.lanes):
            pass

    def one_by_one() -> None:
        for chat in chats:
            ask([chat])

    ways: dict[str, Way] = {OURS: clocked(lanes), ONE_BY_ONE: clocked(one_by_one)}
    facts: Facts = {"questions": len(chats), "batch": batch_hint.batch, "lanes": batch_hint.lanes}
    return in_turn(f"replies to {len(chats)} questions", ways, repeats, done, facts=facts)


def egoschema_options(
    llm: LanguageModel, captions: Path, questions: int, data: Path | None
) -> tuple[list[Chat], list[tuple[str, ...]]]:
    """Return the aggregator's chats for questions spread over egoschema@500, and the options to score."""
    items = load_egoschema(benchmark_folder(benchmarks().entries["egoschema"], data)).items()
    prompt = load_prompt("tasks", PROMPTS.loglik)
    wording = load_prompt("baselines", "aggregator.v1")
    compose = CaptionComposer(load_captions(captions), wording, SegmentRule(), Thin(llm))
    requests = [loglik_request(item, prompt) for item in spread(items, questions)]
    composed = compose([Ask(r.clip, r.prompt, r.reply_start, 256) for r in requests])
    return [c.chat for c in composed], [r.options for r in requests]
