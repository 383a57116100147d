"""Cost of the language model in an aggregator: ours against a call per option, or against sequential calls.

A local model scores a question's options from one pass over its prompt; the baseline reads the prompt again for each
option. A served model gets as many concurrent requests as it likes; the baseline waits for each reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from baselines.aggregator import CaptionComposer, SegmentRule
from baselines.captions import load_captions
from baselines.llm.protocol import Chat, ContinuationScores, LanguageModel
from baselines.material import Thin
from baselines.prompted import Ask
from evals.benchmarks import benchmark_folder
from evals.planning import spread
from evals.runner import run_batches
from lab.bench.result import Comparison, Facts, Measured, Result, Way, clocked, in_turn, rows_of
from tasks.egoschema import PROMPTS, load_egoschema
from tasks.machine import machine_facts
from tasks.multiple_choice import loglik_request
from tasks.prompt import load_prompt
from tasks.registry import benchmarks

OURS, EACH_OPTION, ONE_BY_ONE = "ours", "a call for every option", "one call after the other"
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
) -> Result:
    """Time both ways alternately on the same chats. Raises ValueError without chats."""
    if not chats:
        raise ValueError("nothing to compare: no chats")
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
    """Score every question both ways before the next; a round is all questions once."""
    llm.score(chats[:1], continuations[:1])
    rounds = []
    agreement = Agreement(0, 0, 0.0)
    for number in range(repeats):
        spent = {OURS: Measured(0.0, 0.0), EACH_OPTION: Measured(0.0, 0.0)}
        agreement = Agreement(0, 0, 0.0)
        for chat, texts in zip(chats, continuations, strict=True):
            cached, own = timed(partial(llm.score, [chat], [texts]))
            scratch, theirs = timed(partial(llm.score_from_scratch, [chat], [texts]))
            spent = {OURS: added(spent[OURS], own), EACH_OPTION: added(spent[EACH_OPTION], theirs)}
            agreement = with_chat(agreement, cached[0], scratch[0])
        rounds.append(spent)
        done(f"round {number + 1} of {repeats}")
    facts: Facts = {
        "questions": len(chats),
        "prompt_tokens": agreement.prompt_tokens,
        "same_choices": agreement.same_choices,
        "largest_difference": agreement.largest_difference,
    }
    return Comparison(f"options of {len(chats)} questions weighed", rows_of([OURS, EACH_OPTION], rounds, {}), facts)


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
