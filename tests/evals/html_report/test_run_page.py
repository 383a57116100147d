"""A run's page: its figure, its floors, every item; and nothing broken where something is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from baselines.captions import load_captions
from baselines.floors import RandomVectors
from evals.figures import Breakdown, Group, ItemFigures
from evals.html_report.items import REEL, STRIP
from evals.html_report.run_page import breakdown_views, read_run_files, run_captions, run_page, stages, write_run_page
from evals.html_report.table import beside_title
from evals.imports import import_run
from evals.new_run import describe_import, describe_run
from evals.record import Results
from evals.runner import RunSettings, run_task
from evals.store import SAMPLES, read_samples
from tasks.errors import DataError
from tasks.multiple_choice import FAMILY, MultipleChoiceTask
from tasks.retrieval import PRIMARY, RetrievalItem, RetrievalTask, retrieval_digest
from tasks.task import Clip, FramesSeen, TaskInfo
from tests.evals.conftest import ToyModel, ToyTalker, ignore, run_toy, toy_task
from tests.evals.html_report.conftest import Elements, page_of
from tests.evals.test_imports import captioning, json_file, texts_of


def test_the_headline_is_the_recorded_figure_with_interval_and_floors(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path)
    page = Elements(page_of(tmp_path, task))
    value, interval = results.primary.value, results.primary.interval
    assert value is not None
    assert interval is not None
    assert page.texts("p", "big") == [f"{100 * value:.1f} %"]
    assert f"95 % interval {100 * interval[0]:.1f}–{100 * interval[1]:.1f}" in page.texts("p", "sub")[0]
    leads = page.texts("ul", "leads")[0]
    assert "chance 20.0 %" in leads
    assert "constant" in leads


def test_every_item_is_there_with_question_options_choice_and_answer(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path)
    samples = read_samples(tmp_path)
    items = Elements(page_of(tmp_path, task)).texts("details", "item")
    assert len(items) == 12
    for item in task.items():
        (text,) = [text for text in items if item.question in text]
        assert all(option in text for option in item.options)
        right = samples[item.id].answer == item.answer
        assert text.startswith("right" if right else "wrong")
        assert ("right chosen" in text) == right


def test_a_reply_stands_beside_the_rule_that_read_it(tmp_path: Path) -> None:
    replies = {"q00": "Answer: A", "q01": "I cannot tell", "q02": "b"}
    task = toy_task(3)
    run_toy(task, ToyTalker(replies), tmp_path)
    page = Elements(page_of(tmp_path, task))
    samples = read_samples(tmp_path)
    texts = page.texts("details", "item")
    for key, reply in replies.items():
        (text,) = [text for text in texts if f"in {key}?" in text]
        assert f"raw output, read by the rule “{samples[key].rule}” {reply}" in text
    assert sum(text.startswith("unread") for text in texts) == 1


def test_worst_is_what_was_chosen_with_most_certainty_against_the_right_option(tmp_path: Path) -> None:
    task = toy_task(4)
    run_toy(task, ToyModel(), tmp_path)
    files = read_run_files(tmp_path)
    scores = {"q00": 0.1, "q01": -3.0, "q02": -1.0, "q03": 2.0}  # by how much the right option leads
    samples = {}
    for item in task.items():
        row = [0.0] * 5
        row[item.answer or 0] = scores[item.id]
        samples[item.id] = files.samples[item.id].model_copy(update={"option_scores": tuple(row), "rule": "argmax"})
    page = run_page(replace(files, samples=samples), task)
    order = [re.sub(r".*in (q\d+)\?.*", r"\1", text) for text in Elements(page).texts("details", "item")]
    assert order == ["q01", "q02", "q00", "q03"]


def test_a_partial_run_says_so_and_stands_beside_nothing_it_cannot_be_compared_with(tmp_path: Path) -> None:
    task = toy_task(12)
    other = run_toy(task, ToyModel(details={"other": "x"}), tmp_path / "other")
    run_toy(task, ToyModel(bad=frozenset({"q01"})), tmp_path / "run", limit=5)
    page = Elements(run_page(replace(read_run_files(tmp_path / "run"), neighbours=(other,)), task))
    assert "4 of 12 items answered, 1 failed" in page.texts("p", "banner")[0]
    assert "not a benchmark result" in page.texts("p", "banner")[0]
    rows = page.texts("th", "name")
    assert len([row for row in rows if row.startswith("toy")]) == 1


def test_a_failed_item_shows_why(tmp_path: Path) -> None:
    task = toy_task(3)
    run_toy(task, ToyModel(bad=frozenset({"q01"})), tmp_path)
    (failed,) = [t for t in Elements(page_of(tmp_path, task)).texts("details", "item") if t.startswith("failed")]
    assert "OSError: no frames in q01" in failed


def test_a_run_without_any_answer_has_a_page(tmp_path: Path) -> None:
    task = toy_task(3)
    results = run_toy(task, ToyModel(bad=frozenset({"q00", "q01", "q02"})), tmp_path)
    assert results.status == "failed"
    page = Elements(page_of(tmp_path, task))
    assert page.texts("p", "big") == ["–"]
    assert len(page.texts("details", "item")) == 3


def test_without_samples_the_page_says_so(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path)
    (tmp_path / SAMPLES).unlink()
    assert "No samples are recorded beside this result." in Elements(page_of(tmp_path, task)).texts("p", "none")


def test_without_the_benchmarks_files_the_page_has_answers_and_breakdowns_but_no_questions(tmp_path: Path) -> None:
    task = toy_task(12)
    run_toy(task, ToyModel(), tmp_path)
    page = page_of(tmp_path)
    assert "What does C do" not in page
    assert len(Elements(page).texts("details", "item")) == 12
    assert any("files are not on this machine" in text for text in Elements(page).texts("p", "none"))


def test_a_question_whose_answer_is_not_public_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    task = toy_task(6, hidden=frozenset({"q01"}))
    run_toy(task, ToyModel(), tmp_path)
    page = Elements(page_of(tmp_path, task))
    assert "accuracy public" in page.texts("p", "sub")[0]
    assert next(t for t in page.texts("details", "item") if "in q01?" in t).startswith("not public")


def test_an_imported_text_stands_beside_its_reference(tmp_path: Path) -> None:
    task = captioning()
    texts = {"a": "cut the onion", "b": "read a book", "c": "serve soup"}
    run = describe_import(task, "theirs", {}, "digest", [])
    import_run(task, run, tmp_path / "run", texts_of(task, json_file(tmp_path, texts)))
    page = Elements(run_page(read_run_files(tmp_path / "run"), task))
    assert any("imported" in text for text in page.texts("h1"))
    worst = page.texts("details", "item")[0]
    assert "read a book" in worst
    assert "reference boil the water" in worst
    assert "summary ROUGE-L 0.0 %" in worst


def retrieval_run(folder: Path, clips: list[Clip]) -> tuple[RetrievalTask, Results]:
    items = [RetrievalItem(f"i{n}", f"i{n}", clip, f"pour the batter, {n} times") for n, clip in enumerate(clips)]
    digest = retrieval_digest(items)
    info = TaskInfo("toy", "retrieval", "1", len(items), digest, PRIMARY, 0.1, "video", "none", "none", "none")
    task, model = RetrievalTask(info, items), RandomVectors(seed=1)
    return task, run_task(task, model, describe_run(task, model, "r", {}, []), RunSettings(folder), ignore)


def test_retrieval_shows_both_ranks_and_what_was_found_first(tmp_path: Path) -> None:
    task, results = retrieval_run(tmp_path, [Clip(f"v{n}", 0, 9) for n in range(8)])
    page = Elements(run_page(read_run_files(tmp_path), task))
    cards = page.texts("article", "card")
    assert all(re.search(r"text to video: rank \d+, video to text: rank \d+", card) for card in cards)
    assert all(card.count("pour the batter") >= 4 for card in cards)  # the query and three hits
    right = [card for card in cards if "text to video: rank 1," in card]
    assert len(right) == round(8 * (results.primary.value or 0.0))


def test_a_run_whose_video_is_at_hand_has_pictures_and_hits_with_thumbnails(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv"
    task, _ = retrieval_run(tmp_path, [Clip("pancake", start, start + 3.0, path) for start in (0.0, 3.0, 6.0)])
    page = Elements(run_page(read_run_files(tmp_path), task))
    pictures = [attributes for tag, attributes, _ in page.found if tag == "img"]
    cards = 2 * (STRIP + 3 * 2)  # the worst and the best item of three, each with its three hits
    assert len(pictures) == cards + 3 * 2  # and for each item of the list a thumbnail and its frames
    assert all((picture["src"] or "").startswith("data:image/jpeg;base64,") for picture in pictures)
    assert [len(text.split(" s")) - 1 for text in page.texts("figure", "reel")] == [REEL] * 3


@pytest.mark.parametrize("name", ["zero_bytes.mp4", "not_there.mp4"])
def test_a_video_that_cannot_be_read_is_named_and_the_page_goes_on(tmp_path: Path, name: str) -> None:
    pytest.importorskip("av")
    path = tmp_path / name
    if name == "zero_bytes.mp4":
        path.touch()
    task, _ = retrieval_run(tmp_path / "run", [Clip(f"v{n}", 0, 9, path) for n in range(4)])
    page = Elements(run_page(read_run_files(tmp_path / "run"), task))
    assert any("video can't be read" in text for text in page.texts("p", "none"))


def test_captions_come_from_the_record_or_from_the_runs_own_file(tmp_path: Path) -> None:
    task = toy_task(4)
    run_toy(task, ToyModel(), tmp_path / "run")
    files = read_run_files(tmp_path / "run")
    noted = {
        key: sample.model_copy(update={"notes": {"captions": [{"start": 3, "text": "peels a carrot"}, "washes up", 7]}})
        for key, sample in files.samples.items()
    }
    cards = Elements(run_page(replace(files, samples=noted), task)).texts("article", "card")
    assert all("2 captions 3 s peels a carrot washes up" in card for card in cards)
    path = json_file(tmp_path, {f"q0{n}": ["#C C opens the door."] for n in range(4)})
    cards = Elements(run_page(files, task, load_captions(path))).texts("article", "card")
    assert all("1 caption 0 s C opens the door" in card for card in cards)


@pytest.mark.parametrize("named", [True, False])
def test_a_caption_file_that_the_record_does_not_name_is_said_not_to_be_known_as_read(
    named: bool, tmp_path: Path
) -> None:
    task = toy_task(6)
    path = json_file(tmp_path, {item.clip.video_id: ["C opens the door"] for item in task.items()})
    captions = load_captions(path)
    run_toy(task, ToyModel(details={"captions_sha256": captions.sha256} if named else {}), tmp_path / "run")
    page = Elements(run_page(read_run_files(tmp_path / "run"), task, captions))
    assert any("does not name" in text for text in page.texts("p", "banner")) is not named


def test_another_caption_file_than_the_runs_is_refused(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(details={"captions_sha256": "0" * 64}), tmp_path / "run")
    path = json_file(tmp_path, {"q00": ["a"]})
    with pytest.raises(DataError, match="not the one that toy read"):
        run_captions(results, path)


def test_items_read_by_another_parser_are_announced(tmp_path: Path) -> None:
    task = toy_task(3)
    run_toy(task, ToyTalker({"q00": "Answer: A", "q01": "Answer: B", "q02": "Answer: C"}), tmp_path)
    files = read_run_files(tmp_path)
    assert "today's parser" not in run_page(files, task)
    changed = {key: sample.model_copy(update={"raw": "no idea"}) for key, sample in files.samples.items()}
    assert "today's parser" in run_page(replace(files, samples=changed), task)


def test_the_share_of_the_video_seen_is_broken_down(tmp_path: Path) -> None:
    task = toy_task(12)
    run_toy(task, ToyModel(), tmp_path)
    files = read_run_files(tmp_path)
    samples = {
        key: sample.model_copy(update={"frames": FramesSeen(count=8, share_of_clip=1.0 if n % 2 else 0.6)})
        for n, (key, sample) in enumerate(files.samples.items())
    }
    (text,) = Elements(run_page(replace(files, samples=samples), task)).texts("div", "breakdown")
    assert text.startswith("share of the video seen")
    assert "50–75 % small 6" in text


def test_bars_of_small_groups_alone_have_a_scale_of_their_own() -> None:
    groups = tuple(Group(name, 4, 1, value, None) for name, value in (("low", 0.1), ("mid", 0.5), ("high", 0.9)))
    figures = ItemFigures("accuracy", {"a": 0.1, "b": 0.5, "c": 0.9}, right_or_wrong=True)
    (view,) = breakdown_views([Breakdown("length", "accuracy", groups)], figures, FAMILY)
    low, mid, high = (group.bar.at for group in view.groups)
    assert low < mid < high
    assert mid == pytest.approx(view.overall)


def test_columns_beside_the_ranked_figure_name_its_direction_only_where_they_have_another() -> None:
    assert beside_title("text_to_video_recall_at_5", "text_to_video_recall_at_1") == "recall at 5"
    assert beside_title("video_to_text_recall_at_1", "text_to_video_recall_at_1") == "video to text recall at 1"


def test_a_task_on_other_items_gives_no_questions(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    written = write_run_page(tmp_path / "run", tmp_path / "deep" / "page.html", toy_task(5))
    assert "other items" in written.notes[0]
    assert written.size == written.path.stat().st_size


def test_vectors_of_the_record_are_enough_for_a_retrieval_breakdown(tmp_path: Path) -> None:
    retrieval_run(tmp_path, [Clip(f"v{n}", 0, 9 if n % 2 else 20) for n in range(8)])
    (text,) = Elements(run_page(read_run_files(tmp_path))).texts("div", "breakdown")
    assert re.match(r"length .*up to 10 s small 4 .*10–30 s small 4", text)


def test_pages_of_one_record_are_byte_equal(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path)
    assert page_of(tmp_path, task) == page_of(tmp_path, task)


def test_decoding_that_went_on_meanwhile_is_no_part_of_the_time(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path)
    spent = {"decode": 30.0, "wait": 1.0, "encode": 7.0}
    cost = results.cost.model_copy(update={"seconds": 10.0, "seconds_by_stage": spent, "frames_wait_share": 0.1})
    shown = {stage.name: round(stage.share) for stage in stages(results.model_copy(update={"cost": cost}))}
    assert shown == {"encode": 70, "other": 20, "waiting for frames": 10}
