"""`vllm serve` on this machine: every route over HTTP, and a server that is killed in mid-run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from baselines.llm.load import load_language_model
from baselines.llm.options import Serving
from baselines.llm.protocol import LanguageModel
from encoders.causal_lm.smollm2 import find_smollm2
from evals.new_run import describe_run
from evals.runner import RunSettings, run_task
from evals.store import read_samples
from tasks.digests import file_sha256
from tasks.model import OptionRequest
from tasks.routes import Route
from tasks.task import Prediction
from tests.baselines.llm.vllm.conftest import CONTEXT, DTYPE, QUESTIONS, Asking, agreement
from tests.baselines.llm.vllm.server import START_SECONDS, VllmServer, running

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def server() -> Iterator[VllmServer]:
    pytest.importorskip("vllm")
    from encoders.causal_lm.load import dense_folder, dtype_of

    gguf = find_smollm2()
    head = json.dumps({"head_dtype": "float32"})
    more = ("--max-num-seqs", "64", "--enable-prompt-tokens-details", "--hf-overrides", head)
    with running(dense_folder(gguf, file_sha256(gguf), dtype_of(DTYPE)), "smollm2", CONTEXT, *more) as started:
        yield started


@pytest.fixture(scope="module")
def served(server: VllmServer) -> LanguageModel:
    return load_language_model("openai:smollm2", serving=serving(server), scoring=True)


def serving(server: VllmServer) -> Serving:
    return Serving(base_url=server.url, timeout=600, patience=START_SECONDS)


@pytest.mark.parametrize("route", [Route.OPTIONS_LOGLIK, Route.LETTER_LOGPROB])
def test_choices_over_http_are_those_of_transformers(
    asking: Asking,
    served: LanguageModel,
    by_transformers: Callable[[Route], list[Prediction]],
    route: Route,
    record_property: Callable[..., None],
) -> None:
    ours = asking.ask(served, route)
    record_property("agreement", agreement(ours, by_transformers(route)))
    assert agreement(ours, by_transformers(route)) >= 0.98


def test_prompts_over_http_have_the_tokens_of_transformers(asking: Asking, served: LanguageModel) -> None:
    reference = load_language_model("smollm2", context=CONTEXT, dtype=DTYPE)
    asked = [
        OptionRequest(item.id, item.clip, item.question, "Answer:", item.options, item.question)
        for item in asking.items[:5]
    ]
    ours, theirs = (
        [one.chat for one in asking.aggregator(llm, Route.OPTIONS_LOGLIK).compose_options(asked)]
        for llm in (served, reference)
    )
    assert ours == theirs
    assert list(map(served.count_tokens, ours)) == list(map(reference.count_tokens, theirs))


@pytest.mark.parametrize("guided", [False, True])
def test_the_generating_route_over_http_answers_every_question(
    asking: Asking, served: LanguageModel, tmp_path: Path, guided: bool
) -> None:
    model = asking.aggregator(served, Route.GENERATE, guided=guided)
    run = describe_run(asking.task, model, "served", {}, ["longvid"], limit=QUESTIONS)
    results = run_task(asking.task, model, run, RunSettings(tmp_path / "run"), lambda sample: None)
    assert results.counts.answered == QUESTIONS
    if guided:
        assert {sample.raw for sample in read_samples(tmp_path / "run").values()} <= set("ABCDE")


def test_a_server_killed_in_mid_run_and_restarted_costs_no_item(
    asking: Asking, server: VllmServer, served: LanguageModel, tmp_path: Path
) -> None:
    model = asking.aggregator(served, Route.LETTER_LOGPROB)
    run = describe_run(asking.task, model, "served", {}, ["longvid"], limit=40)
    finished: list[str] = []

    def kill_and_restart() -> None:
        while len(finished) < 8:
            time.sleep(0.05)
        server.kill()
        time.sleep(2)
        server.start()
        server.wait()

    thread = Thread(target=kill_and_restart)
    thread.start()
    settings = RunSettings(tmp_path / "run")
    results = run_task(asking.task, model, run, settings, lambda sample: finished.append(sample.id))
    thread.join()
    assert (results.counts.answered, results.counts.failed) == (40, 0)
    assert len(finished) == len(set(finished)) == 40
