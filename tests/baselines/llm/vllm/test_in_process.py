"""vLLM in this process: the choices of transformers, faster together than one by one, prompts computed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest

from baselines.llm.protocol import Chat, LanguageModel
from evals.new_run import describe_run
from evals.runner import RunSettings, run_task
from evals.store import read_samples
from tasks.kitchen.benchmark import load_qa
from tasks.kitchen.files import write_split
from tasks.routes import Route
from tasks.task import Prediction
from tests.baselines.llm.vllm.conftest import QUESTIONS, Asking, agreement, largest_difference

pytestmark = pytest.mark.vllm
By = Callable[[Route], list[Prediction]]


@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB])
def test_choices_by_likelihood_are_those_of_transformers(
    asking: Asking, in_process: LanguageModel, by_transformers: By, route: Route, record_property: Callable[..., None]
) -> None:
    ours = asking.ask(in_process, route)
    theirs = by_transformers(route)
    record_property("agreement", agreement(ours, theirs))
    assert len(ours) >= min(QUESTIONS, 100)
    assert largest_difference(ours, theirs) < 0.01
    assert agreement(ours, theirs) >= 0.98


def test_likelihoods_from_a_warm_cache_are_those_of_a_cold_one(asking: Asking, in_process: LanguageModel) -> None:
    few = replace(asking, items=asking.items[:5])
    once = few.ask(in_process, Route.OPTIONS_LOGLIK)
    again = few.ask(in_process, Route.OPTIONS_LOGLIK)
    assert largest_difference(once, again) < 0.001


def test_a_model_that_forgets_computes_its_prompts_anew(asking: Asking, in_process: LanguageModel) -> None:
    few = replace(asking, items=asking.items[:2])

    def cached() -> int:
        return sum(one.trace.usage.cached for one in few.ask(in_process, Route.LETTER_LOGPROB))

    cached()
    warm = cached()
    in_process.forget()  # type: ignore[attr-defined]  # vLLM's alone
    assert cached() < warm / 2


def test_the_generating_route_gives_readable_letters_when_guided(asking: Asking, in_process: LanguageModel) -> None:
    replies = asking.ask(in_process, Route.GENERATE, guided=True)
    assert len(replies) >= min(QUESTIONS, 100)
    assert {reply.raw for reply in replies} <= set("ABCDE")
    assert all(reply.answer is not None for reply in replies)


@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB, Route.GENERATE])
def test_a_run_on_vllm_keeps_a_whole_record(
    asking: Asking, in_process: LanguageModel, tmp_path: Path, route: Route
) -> None:
    model = asking.aggregator(in_process, route)
    run = describe_run(asking.task, model, "vllm", {}, ["longvid"], limit=6)
    results = run_task(asking.task, model, run, RunSettings(tmp_path / "run"), lambda sample: None)
    assert results.counts.answered == 6
    assert results.model.details["engine"].startswith("vllm ")  # type: ignore[union-attr]
    assert all(sample.tokens.prompt > 100 for sample in read_samples(tmp_path / "run").values())


def test_questions_together_are_five_times_as_fast_as_one_by_one(
    asking: Asking, in_process: LanguageModel, record_property: Callable[..., None]
) -> None:
    """Writing is what batches speed up: a prompt alone keeps a small machine busy, a single token does not."""
    chats = [Chat(user=f"{item.question}\nAnswer in three sentences.") for item in asking.task.items()[:64]]
    in_process.generate(chats[:2], 8)
    started = perf_counter()
    together = in_process.generate(chats, 48)
    halfway = perf_counter()
    alone = [in_process.generate([chat], 48)[0] for chat in chats[:8]]
    ended = perf_counter()
    ratio = ((ended - halfway) / 8) / ((halfway - started) / len(chats))
    record_property("ratio", ratio)
    assert [reply.text for reply in together[:8]] == [reply.text for reply in alone]
    assert ratio >= 5


def test_half_of_the_prompts_tokens_come_from_the_cache_where_questions_share_a_video(
    in_process: LanguageModel, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """By the letter route, where a question is one prompt: what is saved, its video's other questions have paid for."""
    captions = tmp_path / "annotations.json"
    write_split(captions, "test", videos=4)
    task = load_qa(tmp_path)
    items = task.items()[:20]
    assert Counter(item.clip.video_id for item in items).most_common()[-1][1] == 5
    answered = Asking(task, items, captions).ask(in_process, Route.LETTER_LOGPROB)
    usage = [prediction.trace.usage for prediction in answered]
    share = sum(one.cached for one in usage) / sum(one.prompt for one in usage)
    record_property("cached share", share)
    assert share >= 0.5
