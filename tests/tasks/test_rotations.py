"""Questions asked again with their options in rotated order: what a liking for a place is worth, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from evals.benchmarks import find_target, load_task, with_variant
from evals.store import read_samples
from longvid import compare, evaluate
from tasks.egoschema import load_egoschema
from tasks.errors import DataError, ModelError, RecordError
from tasks.model import TextRequest
from tasks.multiple_choice import RIGHT_IN_ALL, RIGHT_PLACE, MultipleChoiceTask
from tasks.registry import benchmark_of, split_variant
from tasks.task import Summary


class AlwaysA:
    """Prefers the first option, whatever it says."""

    route = "generate+parse"

    def generate(self, requests: Sequence[TextRequest]) -> list[str]:
        return ["A" for _ in requests]


@dataclass
class Knows:
    """Finds the given options by their words, wherever they stand; of the rest the first."""

    known: frozenset[str]
    route: str = "generate+parse"

    def generate(self, requests: Sequence[TextRequest]) -> list[str]:
        lines = [[line for line in request.prompt.splitlines() if line[1:3] == ". "] for request in requests]
        return [next((line[0] for line in told if line[3:] in self.known), "A") for told in lines]


@pytest.fixture(scope="module")
def egoschema(shared_data: Path) -> MultipleChoiceTask:
    return load_egoschema(shared_data / "egoschema")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three questions of 3, 3 and 4 options without videos."""
    rows = [
        '{"video": "v1", "start": 0, "end": 9, "question": "what?", "options": ["red", "blue", "green"], "answer": 1}',
        '{"video": "v2", "start": 0, "end": 9, "question": "who?", "options": ["he", "she", "it"], "answer": 0}',
        '{"video": "v3", "start": 0, "end": 9, "question": "where?", "options": ["a", "b", "c", "d"], "answer": 3}',
    ]
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "benchmark.toml").write_text('name = "own"\n')
    (folder / "questions.jsonl").write_text("\n".join(rows))
    return folder


def summary_of(task: MultipleChoiceTask, answers: Sequence[int]) -> Summary:
    from tasks.task import Prediction

    scores = [task.score(item, Prediction(item.id, answer)) for item, answer in zip(task.items(), answers, strict=True)]
    return task.summarise(scores, np.random.default_rng(0))


def figure(summary: Summary, name: str) -> float | None:
    return next(metric.value for metric in summary.metrics if metric.name == name)


def test_every_option_stands_at_every_place_once_and_the_right_one_stays_right(egoschema: MultipleChoiceTask) -> None:
    rotated = egoschema.rotated().items()
    assert len(rotated) == 5 * len(egoschema.items())
    for number, item in enumerate(egoschema.items()):
        asked = rotated[5 * number : 5 * number + 5]
        assert asked[0].options == item.options
        assert {other.cluster for other in asked} == {item.cluster}
        assert [sorted(column) for column in zip(*(other.options for other in asked), strict=True)] == [
            sorted(item.options)
        ] * 5
        assert {other.options[other.answer or 0] for other in asked} == {item.options[item.answer or 0]}
        assert sorted(other.labels[RIGHT_PLACE] for other in asked) == list("ABCDE")


def test_a_model_that_always_takes_option_a_gets_chance_and_is_right_in_no_question(
    egoschema: MultipleChoiceTask,
) -> None:
    rotated = egoschema.rotated()
    summary = summary_of(rotated, [0] * len(rotated.items()))
    assert figure(summary, "accuracy") == pytest.approx(rotated.info.chance, abs=1e-12)
    assert figure(summary, RIGHT_IN_ALL) == 0
    # As given, the same answers are worth what the places of the right answers make of them.
    assert figure(summary_of(egoschema, [0] * 500), "accuracy") != pytest.approx(0.2, abs=1e-3)


def test_a_model_that_knows_is_right_in_all_of_what_it_knows(egoschema: MultipleChoiceTask) -> None:
    rotated = egoschema.rotated()
    answers = [(item.answer or 0) if number < 5 * 100 else 0 for number, item in enumerate(rotated.items())]
    summary = summary_of(rotated, answers)
    assert figure(summary, RIGHT_IN_ALL) == pytest.approx(100 / 500)
    assert figure(summary, "accuracy") == pytest.approx((100 + 400 / 5) / 500)


def test_a_run_keeps_one_questions_answers_in_one_cluster_and_goes_by_a_name_of_its_own(
    own: Path, tmp_path: Path
) -> None:
    run = evaluate(AlwaysA(), f"{own}@all+rotations-3", out=tmp_path / "run")
    assert run.results.task.name == "own@all+rotations-3"
    assert run.results.protocol["rotations"] == "3"
    assert run.results.counts.asked == 9
    assert run.results.primary.clusters == 3
    assert run.value == pytest.approx(3 / 9)
    places = [sample.labels[RIGHT_PLACE] for sample in read_samples(run.folder).values()]
    assert Counter(places) == {"A": 3, "B": 3, "C": 2, "D": 1}


def test_a_rotated_run_is_scored_again_and_shown_by_its_folder_alone(own: Path, tmp_path: Path) -> None:
    run = evaluate(Knows(frozenset({"blue", "d"})), f"{own}@all+rotations-2", out=tmp_path / "run")
    again = evaluate(Knows(frozenset({"blue", "d"})), f"{own}@all+rotations-2", out=tmp_path / "run")
    assert again.results == run.results
    page = run.to_html(tmp_path / "page.html").read_text()
    assert "where?" in page


def test_it_is_not_compared_with_a_run_of_the_questions_as_given(own: Path, tmp_path: Path) -> None:
    rotated = evaluate(AlwaysA(), f"{own}@all+rotations-2", out=tmp_path / "rotated")
    given = evaluate(AlwaysA(), own, out=tmp_path / "given")
    with pytest.raises(RecordError):
        compare(given, rotated)


def test_routes_that_list_no_options_are_refused_before_any_work(own: Path) -> None:
    benchmark, pool = find_target(f"{own}@all+rotations-3")

    class Scorer:
        route = "options-loglik"

        def score_options(self, requests: object) -> object:
            raise AssertionError

    with pytest.raises(ModelError, match="does not list them: use -M route=generate"):
        load_task(benchmark, pool, None).check(Scorer())


def test_all_rotations_need_as_many_options_in_every_question(own: Path) -> None:
    benchmark, _ = find_target(str(own))
    with pytest.raises(DataError, match=r"3 to 4 options; say how many rotations, at most 3"):
        load_task(benchmark, "all+rotations", None)
    with pytest.raises(DataError, match="from 2 to 3"):
        load_task(benchmark, "all+rotations-4", None)


@pytest.mark.parametrize("said", ["0", "1.5", "x", "", "-3", "100"])
def test_what_is_no_number_of_rotations_is_refused_by_name(said: str) -> None:
    with pytest.raises(DataError, match="--rotations must be 'all' or a number of 2 or more"):
        with_variant("500", said)


def test_a_tasks_name_tells_its_benchmark_pool_and_rotations() -> None:
    benchmark = benchmark_of("egoschema@500+rotations-3")
    assert benchmark is not None
    assert (benchmark.name, benchmark.pool_of("egoschema@500+rotations-3")) == ("egoschema", "500+rotations-3")
    assert split_variant("egoschema@500") == ("egoschema@500", "")
    assert with_variant("500", "all") == "500+rotations"


def test_a_family_without_options_is_refused(shared_data: Path) -> None:
    benchmark, _ = find_target("youcook2-retrieval")
    with pytest.raises(DataError, match="has no options"):
        load_task(benchmark, f"{benchmark.pools[0]}+rotations", shared_data)
