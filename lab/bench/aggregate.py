"""Cost of the language model in an aggregator: ours against a call per option, or against sequential calls.

A local model scores a question's options from one pass over its prompt; the baseline reads the prompt again for each
option. A served model gets as many concurrent requests as it likes; the baseline waits for each reply. llama.cpp, if
installed, scores the same tokens from a GGUF file, with one pass over the prompt as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from lab.bench.result import Comparison, Facts, Measured, NotMeasuredError, Result, Way, clocked, in_turn, rows_of
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


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the two ways: questions with the same best option, and the largest difference of means (nats)."""

    prompt_tokens: int
    same_choices: int
    largest_difference: float


def bench_aggregate(
    llm: LanguageModel,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
    repeats: int,
    done: Callable[[str], None],
    gguf: Path | None = None,
) -> Result:
    """Time both ways alternately on the same chats, or ours and llama.cpp. Raises ValueError without chats."""
    if not chats:
        raise ValueError("nothing to compare: no chats")
    if gguf is not None:
        if not isinstance(llm, TransformersLanguageModel):
            raise NotMeasuredError(
                f"llama.cpp is compared with a model that transformers runs here, not '{llm.info.name}'"
            )
        comparison = compare_llama_cpp(llm, gguf, chats, continuations, repeats, done)
    else:
        compare = compare_scoring if isinstance(llm, BothWays) else compare_lanes
        comparison = compare(llm, chats, continuations, repeats, done)  # type: ignore[arg-type]  # told apart just above
    settings: Facts = {"llm": llm.info.name, "dtype": llm.info.dtype, "questions": len(chats), "repeats": repeats}
    return Result("aggregate", machine_facts(llm.info.device), settings, (comparison,))


def compare_scoring(
    llm: BothWays,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
    repeats: int,
    done: Callable[[str], None],
) -> Comparison:
    """Score every question with its prompt cached and from scratch."""
    ways = [
        (partial(llm.score, [chat], [texts]), partial(llm.score_from_scratch, [chat], [texts]))
        for chat, texts in zip(chats, continuations, strict=True)
    ]
    llm.score(chats[:1], continuations[:1])
    return question_by_question((OURS, EACH_OPTION), ways, repeats, done, {})


def compare_llama_cpp(
    llm: TransformersLanguageModel,
    gguf: Path,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],
    repeats: int,
    done: Callable[[str], None],
) -> Comparison:
    """Score every question with transformers and with llama.cpp, on the same tokens and threads.

    Raises NotMeasuredError if llama-cpp-python is not installed or can't read the file.
    """
    asked = [llm.scoring_tokens(chat, texts, "a question") for chat, texts in zip(chats, continuations, strict=True)]
    longest = max(len(one.prompt) + max(map(len, one.continuations)) for one in asked)
    peer = LlamaCpp(gguf, longest, torch.get_num_threads())
    ways = [
        (partial(llm.score, [chat], [texts]), partial(peer.score, tokens))
        for chat, texts, tokens in zip(chats, continuations, asked, strict=True)
    ]
    llm.score(chats[:1], continuations[:1])
    return question_by_question((OURS, LLAMA_CPP), ways, repeats, done, {"gguf": gguf.name})


Scoring: TypeAlias = Callable[[], list[ContinuationScores]]


def question_by_question(
    names: tuple[str, str],
    ways: Sequence[tuple[Scoring, Scoring]],
    repeats: int,
    done: Callable[[str], None],
    facts: Facts,
) -> Comparison:
    """Score each question in both ways before the next; a round is all questions once."""
    rounds = []
    agreement = Agreement(0, 0, 0.0)
    for number in range(repeats):
        spent = dict.fromkeys(names, Measured(0.0, 0.0))
        agreement = Agreement(0, 0, 0.0)
        for ours, theirs in ways:
            (mine, own), (other, peers) = timed(ours), timed(theirs)
            spent = {names[0]: added(spent[names[0]], own), names[1]: added(spent[names[1]], peers)}
            agreement = with_chat(agreement, mine[0], other[0])
        rounds.append(spent)
        done(f"round {number + 1} of {repeats}")
    told: Facts = {
        **facts,
        "questions": len(ways),
        "prompt_tokens": agreement.prompt_tokens,
        "same_choices": agreement.same_choices,
        "largest_difference": agreement.largest_difference,
    }
    return Comparison(f"options of {len(ways)} questions weighed", rows_of(list(names), rounds, {}), told)


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

    def score(self, tokens: ScoringTokens) -> list[ContinuationScores]:
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
        return [ContinuationScores(tuple(totals), counts, TokenUsage(len(prompt), start, sum(counts)))]

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


def timed(call: Callable[[], list[ContinuationScores]]) -> tuple[list[ContinuationScores], Measured]:
    """Return a call's result and its cost."""
    results: list[list[ContinuationScores]] = []
    measured = clocked(lambda: results.append(call()))()
    return results[0], measured


def added(one: Measured, other: Measured) -> Measured:
    """Add up two measurements."""
    return Measured(one.seconds + other.seconds, one.cpu_seconds + other.cpu_seconds)


def with_chat(sum_: Agreement, cached: ContinuationScores, scratch: ContinuationScores) -> Agreement:
    """Add one question to the agreement."""
    apart = max(abs(a - b) for a, b in zip(cached.means, scratch.means, strict=True))
    return Agreement(
        sum_.prompt_tokens + cached.usage.prompt,
        sum_.same_choices + (best(cached) == best(scratch)),
        max(sum_.largest_difference, apart),
    )


def best(scores: ContinuationScores) -> int:
    """Return the option with the highest mean log-likelihood."""
    return scores.means.index(max(scores.means))


def compare_lanes(
    llm: LanguageModel,
    chats: Sequence[Chat],
    continuations: Sequence[Sequence[str]],  # noqa: ARG001 - a served model is asked to write
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
