"""Errors are data, a run resumes where it stopped, and its folder belongs to one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from baselines.floors import ChanceModel, ConstantModel
from evals.new_run import describe_run
from evals.record import Results, Sample
from evals.runner import RunSettings, TooManyFailuresError, rescore, run_task
from evals.schema_files import without_wall_clock
from evals.store import RESULTS, SAMPLES, read_results, read_run, read_samples
from tasks.errors import ModelError, RecordError
from tasks.model import ModelInfo, OptionRequest, OptionScores
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tasks.routes import Route
from tasks.task import Clip, Prediction, Trace
from tests.evals.conftest import ToyModel, ToyTalker, calls_of, ignore, run_toy, toy_task

IDS = [f"q{i:02d}" for i in range(12)]
MOST_CALLS = 160


@pytest.fixture
def whole(task: MultipleChoiceTask, tmp_path: Path) -> Results:
    """An uninterrupted run of the toy model."""
    return run_toy(task, ToyModel(), tmp_path / "whole")


def same(one: Results, other: Results) -> bool:
    """Whether two results agree in everything but wall-clock fields and command lines."""
    return without_wall_clock(one) == without_wall_clock(other)


def test_every_item_is_answered_in_order(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run")
    assert results.status == "complete"
    assert list(read_samples(tmp_path / "run")) == IDS


def test_what_is_returned_is_what_lies_in_the_folder(whole: Results, tmp_path: Path) -> None:
    assert read_results(tmp_path / "whole") == whole


class Rereading(MultipleChoiceTask):
    """Remembers which items' recorded replies were read again."""

    again: list[str]

    def reread(self, item: ChoiceItem, prediction: Prediction) -> Prediction:
        self.again.append(item.id)
        return super().reread(item, prediction)


def test_an_item_that_was_just_answered_is_scored_once_and_an_earlier_one_again(
    task: MultipleChoiceTask, tmp_path: Path
) -> None:
    counting = Rereading(task.info, task.items(), task.prompts)
    counting.again = []
    run = run_toy(counting, ToyModel(stop_at=None), tmp_path, limit=5)
    assert counting.again == []
    whole = run_toy(counting, ToyModel(), tmp_path)
    assert counting.again == IDS[:5]
    assert rescore(counting, tmp_path) == whole != run
    assert counting.again == IDS[:5] + IDS


def test_a_run_reads_each_row_of_its_record_once(
    task: MultipleChoiceTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_toy(task, ToyModel(), tmp_path, limit=5)
    read: list[str] = []
    validate = Sample.model_validate_json

    def noted(line: bytes) -> Sample:
        row = validate(line)
        read.append(row.id)
        return row

    monkeypatch.setattr(Sample, "model_validate_json", noted)
    run_toy(task, ToyModel(), tmp_path)
    assert read == IDS


def test_what_is_started_before_the_first_item_is_part_of_the_time_it_takes(
    task: MultipleChoiceTask, tmp_path: Path
) -> None:
    class SlowToStart(ToyModel):
        @contextmanager
        def looking_ahead(self, clips: Sequence[Clip]) -> Iterator[None]:
            sleep(0.2)
            yield

    run_toy(task, SlowToStart(), tmp_path)
    first, second, *_ = read_samples(tmp_path).values()
    assert second.seconds["total"] < 0.2 <= first.seconds["total"]


@pytest.mark.parametrize("already", [False, True], ids=["fresh", "finished"])
def test_what_a_run_costs_grows_as_the_number_of_items_does(tmp_path: Path, already: bool) -> None:
    def calls(count: int) -> int:
        task, folder = toy_task(count), tmp_path / str(count)
        if already:
            run_toy(task, ChanceModel(), folder, batch_size=256)
        return calls_of(lambda: run_toy(task, ChanceModel(), folder, batch_size=256))

    calls(10)
    first, second, third = (calls(count) for count in (256, 512, 1_024))
    each = (second - first) / 256
    assert (third - second) / 512 <= 1.02 * each
    # It is 120: asked, scored, written, read again and summed up, floors included.
    assert each < MOST_CALLS


def test_run_json_is_there_before_the_first_item(task: MultipleChoiceTask, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = []

    class Looker(ToyModel):
        def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
            found.append((read_run(folder).task.name, (folder / "results.json").exists()))
            return super().choose(requests)

    run_toy(task, Looker(), folder, limit=1)
    assert found == [("toy@12", False)]


def test_each_answer_is_on_disk_before_the_next_item_starts(task: MultipleChoiceTask, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    on_disk = []

    class Looker(ToyModel):
        def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
            on_disk.append(len(read_samples(folder)))
            return super().choose(requests)

    run_toy(task, Looker(), folder)
    assert on_disk == list(range(12))


def test_an_error_becomes_data_that_says_what_and_where(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path / "run")
    error = read_samples(tmp_path / "run")["q03"].error
    assert error is not None
    assert (error.kind, error.message) == ("OSError", "no frames in q03")
    assert error.where.startswith("conftest.py:")


def test_a_failed_item_is_counted_and_named_and_makes_the_run_partial(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset({"q03", "q07"})), tmp_path / "run")
    assert results.status == "partial"
    assert (results.counts.answered, results.counts.failed, results.failed_ids) == (10, 2, ("q03", "q07"))
    assert "2 items failed and are not scored (q03, q07); the first: no frames in q03" in results.warnings


def test_a_failed_item_is_never_a_zero(task: MultipleChoiceTask, tmp_path: Path) -> None:
    answers = {item.id: item.answer for item in task.items()}
    chosen = dict(zip(IDS, ToyModel().choose(requests(IDS)), strict=True))
    wrong = frozenset(key for key in IDS if chosen[key] != answers[key])
    results = run_toy(task, ToyModel(bad=wrong), tmp_path / "run")
    assert 0 < len(wrong) < 12
    assert results.primary.value == 1.0
    assert results.primary.n == 12 - len(wrong)
    assert read_samples(tmp_path / "run")[min(wrong)].scores == {}


def requests(ids: Sequence[str]) -> list[OptionRequest]:
    items = {item.id: item for item in toy_task().items()}
    return [OptionRequest(key, items[key].clip, "", "", items[key].options) for key in ids]


def test_a_run_in_which_all_fails_is_failed_and_has_no_value(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset(IDS)), tmp_path / "run")
    assert (results.status, results.primary.value, results.floors) == ("failed", None, ())


def test_a_failing_batch_costs_only_its_bad_item(task: MultipleChoiceTask, tmp_path: Path) -> None:
    model = ToyModel(bad=frozenset({"q05"}))
    results = run_toy(task, model, tmp_path / "run", batch_size=4)
    assert results.failed_ids == ("q05",)
    assert model.asked == [
        ("q00", "q01", "q02", "q03"),
        ("q04", "q05", "q06", "q07"),
        ("q04", "q05"),
        ("q04",),
        ("q05",),
        ("q06", "q07"),
        ("q08", "q09", "q10", "q11"),
    ]


@dataclass(frozen=True)
class BrokenScorer:
    """Weighs options by the given scores; with too few replies where `lost`."""

    scores: tuple[float, ...]
    lost: bool = False
    route = Route.LETTER_LOGPROB
    info = ModelInfo("broken")

    def score_options(self, asked: Sequence[OptionRequest]) -> list[OptionScores]:
        return [OptionScores(self.scores) for _ in asked][self.lost :]


@pytest.mark.parametrize(
    "model",
    [
        BrokenScorer((float("nan"), 0.0, 0.0, 0.0, 0.0)),
        BrokenScorer((float("-inf"), 0.0, 0.0, 0.0, 0.0)),
        BrokenScorer((0.0,) * 5, lost=True),
    ],
    ids=["nan", "infinite", "reply lost"],
)
def test_an_unusable_reply_is_an_error_of_its_item(
    task: MultipleChoiceTask, tmp_path: Path, model: BrokenScorer
) -> None:
    results = run_toy(task, model, tmp_path / "run", limit=3, batch_size=2)
    assert results.failed_ids == ("q00", "q01", "q02")


def test_too_many_failures_stop_the_run_with_its_results_written(task: MultipleChoiceTask, tmp_path: Path) -> None:
    model = ToyModel(bad=frozenset({"q02", "q04", "q06", "q08"}))
    with pytest.raises(TooManyFailuresError, match=r"3 items failed \(--max-failures 2\).*no frames in q06"):
        run_toy(task, model, tmp_path / "run", max_failures=2)
    results = read_results(tmp_path / "run")
    assert results.status == "partial"
    assert (results.counts.answered, results.counts.failed, results.counts.not_reached) == (4, 3, 5)


def test_as_many_failures_as_allowed_do_not_stop_the_run(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(bad=frozenset({"q02", "q04"})), tmp_path / "run", max_failures=2)
    assert results.counts.answered == 10


def test_an_interrupt_leaves_partial_results(task: MultipleChoiceTask, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_toy(task, ToyModel(stop_at="q07"), tmp_path / "run")
    results = read_results(tmp_path / "run")
    assert (results.status, results.counts.answered, results.counts.not_reached) == ("partial", 7, 5)
    assert any("5 of 12 items were not reached" in warning for warning in results.warnings)


def test_resuming_asks_only_what_is_missing(task: MultipleChoiceTask, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_toy(task, ToyModel(stop_at="q07"), tmp_path / "run")
    second = ToyModel()
    run_toy(task, second, tmp_path / "run")
    assert second.asked_ids == IDS[7:]


def test_resuming_gives_the_results_of_an_uninterrupted_run(
    task: MultipleChoiceTask, tmp_path: Path, whole: Results
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_toy(task, ToyModel(stop_at="q07"), tmp_path / "run")
    assert same(run_toy(task, ToyModel(), tmp_path / "run"), whole)


def test_resuming_tries_failed_items_again(task: MultipleChoiceTask, tmp_path: Path, whole: Results) -> None:
    run_toy(task, ToyModel(bad=frozenset({"q03", "q07"})), tmp_path / "run")
    second = ToyModel()
    results = run_toy(task, second, tmp_path / "run")
    assert second.asked_ids == ["q03", "q07"]
    assert same(results, whole)


class Foresighted(ToyModel):
    """Notes what it is told of beforehand."""

    def __init__(self, stop_at: str | None = None) -> None:
        super().__init__(stop_at=stop_at)
        self.told: list[str] = []
        self.over = False

    @contextmanager
    def looking_ahead(self, clips: Sequence[Clip]) -> Iterator[None]:
        self.told = [clip.video_id for clip in clips]
        try:
            yield
        finally:
            self.over = True


def test_a_model_is_told_beforehand_of_what_is_still_to_be_asked(task: MultipleChoiceTask, tmp_path: Path) -> None:
    first, second = Foresighted(stop_at="q07"), Foresighted()
    with pytest.raises(KeyboardInterrupt):
        run_toy(task, first, tmp_path / "run")
    run_toy(task, second, tmp_path / "run")
    videos = [item.clip.video_id for item in task.items()]
    assert (first.told, second.told) == (videos, videos[7:])
    assert first.over
    assert second.over


def test_failed_items_are_left_alone_when_asked_to(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(bad=frozenset({"q03"})), tmp_path / "run")
    second = ToyModel()
    results = run_toy(task, second, tmp_path / "run", retry_failed=False)
    assert second.asked == []
    assert results.failed_ids == ("q03",)


def test_a_finished_run_asks_nothing_again(task: MultipleChoiceTask, tmp_path: Path, whole: Results) -> None:
    second = ToyModel()
    again = run_toy(task, second, tmp_path / "whole")
    assert second.asked == []
    assert again == whole


def test_the_first_run_json_is_kept_on_resuming(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    run_toy(task, ToyModel(), tmp_path / "run")
    assert (tmp_path / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize("batch_size", [1, 2, 5, 12, 50])
def test_results_do_not_depend_on_the_batch_size(
    task: MultipleChoiceTask, tmp_path: Path, whole: Results, batch_size: int
) -> None:
    assert same(run_toy(task, ToyModel(), tmp_path / "run", batch_size=batch_size), whole)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 1}, r"different: seed\)"),
        ({"options": {"choice": "3"}}, r"different: model\.options\.choice\)"),
        ({"model": ToyModel(details={"weights": "other"})}, r"different: model\.details\.weights\)"),
        ({"model": ChanceModel(0)}, r"different: model\.name\)"),
        ({"task": toy_task(name="tea")}, r"another run, of toy@12 in place of tea@12;"),
        ({"task": toy_task(13)}, r"another run, of toy@12 in place of toy@13;"),
    ],
)
def test_a_changed_run_is_refused_with_the_fields_named(
    task: MultipleChoiceTask, tmp_path: Path, changed: dict[str, object], named: str
) -> None:
    run_toy(task, ToyModel(), tmp_path / "run", options={"choice": "2"}, limit=2)
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    settings = {"task": task, "model": ToyModel(), "options": {"choice": "2"}, **changed}
    with pytest.raises(RecordError, match=named):
        run_toy(folder=tmp_path / "run", **settings)  # type: ignore[arg-type]
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before


def test_a_folder_with_other_things_in_it_is_refused_untouched(task: MultipleChoiceTask, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RecordError, match=r"not empty and holds no run \(thesis\.tex"):
        run_toy(task, ToyModel(), tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_limited_run_is_partial_and_says_so(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run", limit=5)
    assert (results.status, results.limit, results.counts.asked, results.primary.n) == ("partial", 5, 5, 5)
    assert any("limited to the first 5 of 12 items: not a benchmark result" in w for w in results.warnings)


def test_a_limit_can_be_extended_in_the_same_folder(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run", limit=5)
    second = ToyModel()
    results = run_toy(task, second, tmp_path / "run", limit=8)
    assert second.asked_ids == IDS[5:8]
    assert (results.counts.answered, read_run(tmp_path / "run").limit) == (8, 8)


def test_a_limit_that_is_lifted_gives_the_whole_run(task: MultipleChoiceTask, tmp_path: Path, whole: Results) -> None:
    run_toy(task, ToyModel(), tmp_path / "run", limit=5)
    assert same(run_toy(task, ToyModel(), tmp_path / "run"), whole)


@pytest.mark.parametrize("model", [object(), BrokenScorer((0.0,) * 5)], ids=["no capability", "other capability"])
def test_a_model_that_lacks_what_the_task_needs_is_refused_before_anything_is_written(
    task: MultipleChoiceTask, tmp_path: Path, model: object
) -> None:
    class Wrong:
        route = Route.GIVEN
        info = ModelInfo("wrong")

    wrong = Wrong() if isinstance(model, BrokenScorer) else model
    run = describe_run(task, ToyModel(), "toy", {}, ["longvid"])
    with pytest.raises(ModelError, match=r"toy@12 needs \w+ \(\w+\)"):
        run_task(task, wrong, run, RunSettings(tmp_path / "run"), ignore)
    assert not (tmp_path / "run").exists()


def test_the_caller_hears_of_every_new_sample(task: MultipleChoiceTask, tmp_path: Path) -> None:
    heard: list[Sample] = []
    model = ToyModel(bad=frozenset({"q03"}))
    run = describe_run(task, model, "toy", {}, ["longvid"])
    run_task(task, model, run, RunSettings(tmp_path / "run"), heard.append)
    assert [sample.id for sample in heard] == IDS
    assert [sample.id for sample in heard if sample.error] == ["q03"]


def test_a_record_holds_what_is_needed_to_score_it_again(task: MultipleChoiceTask, tmp_path: Path) -> None:
    talker = ToyTalker(dict.fromkeys(IDS, "Answer: B"))
    results = run_toy(task, talker, tmp_path / "run")
    assert rescore(task, tmp_path / "run") == results


def test_scoring_again_reads_the_raw_reply_not_the_old_reading(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyTalker(dict.fromkeys(IDS, "Answer: B")), tmp_path / "run")
    path = tmp_path / "run" / "samples.jsonl"
    path.write_text(path.read_text().replace('"answer":1', '"answer":null'))
    assert read_samples(tmp_path / "run")["q00"].answer is None
    assert rescore(task, tmp_path / "run").details["chosen_counts"] == [0, 12, 0, 0, 0]


def test_scoring_again_refuses_other_items(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    with pytest.raises(RecordError, match="on items other than those"):
        rescore(toy_task(12, hidden=frozenset({"q00"})), tmp_path / "run")


def test_a_record_names_its_route_and_model_facts(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ConstantModel(2), tmp_path / "run", options={"choice": "2"})
    assert results.protocol == {"route": "given"}
    assert (results.model.name, results.model.options, results.model.parameters) == ("constant", {"choice": "2"}, 0)


def test_a_note_that_json_cannot_hold_is_that_items_error_not_the_runs_end(
    task: MultipleChoiceTask, tmp_path: Path
) -> None:
    class Noting(MultipleChoiceTask):
        def predict(self, model: object, batch: Sequence[ChoiceItem]) -> list[Prediction]:
            note = {"weight": np.float32(0.5)} if batch[0].id == "q03" else {}
            return [replace(p, trace=Trace(notes=note)) for p in super().predict(model, batch)]  # type: ignore[arg-type]

    noting = Noting(task.info, task.items(), task.prompts)
    results = run_toy(noting, ToyModel(), tmp_path / "run")
    assert results.failed_ids == ("q03",)
    assert results.counts.answered == 11


@pytest.mark.parametrize("is_there", [False, True], ids=["missing", "empty"])
def test_scoring_a_record_without_its_answers_is_refused_and_keeps_the_results(
    is_there: bool, task: MultipleChoiceTask, tmp_path: Path
) -> None:
    run_toy(task, ToyModel(), tmp_path)
    before = (tmp_path / RESULTS).read_bytes()
    (tmp_path / SAMPLES).unlink()
    if is_there:
        (tmp_path / SAMPLES).touch()
    with pytest.raises(RecordError, match=rf"samples.jsonl is {'empty' if is_there else 'missing'}, but .* 12 answers"):
        rescore(task, tmp_path)
    assert (tmp_path / RESULTS).read_bytes() == before
