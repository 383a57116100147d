"""Asking a sampling model each question several times: mean, majority and agreement of its answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from evals.benchmarks import find_target, load_task, with_variant
from evals.store import read_samples
from longvid import evaluate
from tasks.errors import DataError, ModelError
from tasks.model import TextRequest
from tasks.multiple_choice import DEVIATION, MAJORITY, RIGHT_IN_ALL, SAME_ANSWER, question_id
from tasks.registry import benchmark_of, split_variant
from tests.evals.conftest import assert_one_line, longvid


@dataclass
class Draws:
    """A model with a listed reply for each draw of a question, which records what it is asked."""

    replies: dict[str, str]
    route: str = "generate+parse"
    is_sampled: bool = True
    asked: list[str] = field(default_factory=list)

    def generate(self, requests: Sequence[TextRequest]) -> list[str]:
        self.asked += [request.item_id for request in requests]
        return [self.replies[question_id(request.item_id)][request.draw] for request in requests]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "benchmark.toml").write_text('name = "own"\n')
    row = {"start": 0, "end": 9, "question": "what?", "options": ["red", "blue", "green"], "answer": 0}
    rows = [{**row, "id": f"q{n}", "video": f"v{n // 2}"} for n in range(4)]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


# Right answers among the three draws: three, two, one, and one that is as frequent as the two wrong ones.
REPLIES = {"q0": "AAA", "q1": "ABA", "q2": "BBA", "q3": "ABC"}


def test_mean_majority_and_agreement_are_those_of_the_answers(own: Path, tmp_path: Path) -> None:
    run = evaluate(Draws(REPLIES), f"{own}@all+repeats-3", out=tmp_path / "run").results
    figures = {metric.name: metric for metric in run.metrics}
    assert run.primary.value == pytest.approx((3 + 2 + 1 + 1) / 12)
    assert figures[MAJORITY].value == pytest.approx((1 + 1 + 0 + 1 / 3) / 4)
    assert figures[SAME_ANSWER].value == pytest.approx((1 + 1 / 3 + 1 / 3 + 0) / 4)
    assert run.details["accuracy_by_repeat"] == [0.75, 0.25, 0.75]
    assert run.details[DEVIATION] == pytest.approx(np.std([0.75, 0.25, 0.75], ddof=1))
    assert run.protocol["repeats"] == "3"


def test_an_interval_keeps_all_answers_about_one_video_together(own: Path, tmp_path: Path) -> None:
    run = evaluate(Draws(REPLIES), f"{own}@all+repeats-3", out=tmp_path / "run").results
    assert (run.primary.n, run.primary.clusters) == (12, 2)
    assert {metric.clusters for metric in run.metrics} == {2}


def test_every_answer_is_kept_and_an_interrupted_run_asks_only_the_rest(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(Draws(REPLIES), f"{own}@all+repeats-3", out=out, limit=4)
    model = Draws(REPLIES)
    run = evaluate(model, f"{own}@all+repeats-3", out=out)
    assert model.asked == [f"q{n}+n{draw}" for n in range(4) for draw in range(3)][4:]
    samples = read_samples(out)
    assert [samples[f"q1+n{draw}"].raw for draw in range(3)] == ["A", "B", "A"]
    assert run.results.counts.answered == 12


def test_rotations_and_repeats_go_together(own: Path, tmp_path: Path) -> None:
    always = Draws(dict.fromkeys(REPLIES, "AA"))
    run = evaluate(always, f"{own}@all+rotations+repeats-2", out=tmp_path / "run").results
    figures = {metric.name: metric.value for metric in run.metrics}
    assert run.counts.asked == 4 * 3 * 2
    assert (run.primary.value, figures[RIGHT_IN_ALL], figures[SAME_ANSWER]) == (pytest.approx(1 / 3), 0, 1)
    assert figures[MAJORITY] == pytest.approx(1 / 3)


def test_replies_that_can_not_be_read_agree_with_nothing(own: Path, tmp_path: Path) -> None:
    run = evaluate(Draws(dict.fromkeys(REPLIES, "??")), f"{own}@all+repeats-2", out=tmp_path / "run").results
    figures = {metric.name: metric.value for metric in run.metrics}
    assert (figures[SAME_ANSWER], figures[MAJORITY]) == (0, 0)


def test_a_model_that_always_answers_the_same_is_refused_before_any_work(own: Path) -> None:
    benchmark, pool = find_target(f"{own}@all+repeats-3")
    task = load_task(benchmark, pool, None)
    with pytest.raises(ModelError, match="'Draws' answers the same every time"):
        task.check(Draws(REPLIES, is_sampled=False))
    with pytest.raises(ModelError, match="answers the same every time"):
        task.check(Draws(REPLIES, route="letter-logprob"))
    assert_one_line(longvid("run", own, "-m", "constant", "--repeats", "3"), "'constant' answers the same every time")


def test_a_tasks_name_tells_rotations_and_repeats() -> None:
    benchmark = benchmark_of("egoschema@500+rotations-3+repeats-5")
    assert benchmark is not None
    assert benchmark.pool_of("egoschema@500+rotations-3+repeats-5") == "500+rotations-3+repeats-5"
    assert split_variant("egoschema@500+repeats-12") == ("egoschema@500", "+repeats-12")
    assert split_variant("egoschema@500+repeats-0") == ("egoschema@500+repeats-0", "")
    assert with_variant("500", "all", 4) == "500+rotations+repeats-4"


def test_a_family_without_options_is_refused(shared_data: Path) -> None:
    benchmark, _ = find_target("youcook2-retrieval")
    with pytest.raises(DataError, match="--repeats are for multiple choice"):
        load_task(benchmark, f"{benchmark.pools[0]}+repeats-2", shared_data)
