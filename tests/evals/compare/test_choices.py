"""Runs of questions compared: paired by item, on what all answered, with what the evidence allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from evals.compare.rows import Difference
from evals.store import VECTORS, read_results
from tasks.errors import RecordError
from tasks.multiple_choice import MultipleChoiceTask, bare_request
from tests.evals.compare.runs import Right, compared, run_as
from tests.evals.conftest import ToyTalker, longvid, toy_task


@pytest.fixture
def big() -> MultipleChoiceTask:
    """180 questions from 60 videos."""
    return toy_task(180)


@pytest.fixture
def pair(big: MultipleChoiceTask, tmp_path: Path) -> tuple[Path, Path]:
    """A weak run and a strong one."""
    run_as(big, Right(big, 0.3), tmp_path / "weak")
    run_as(big, Right(big, 0.6, seed=1), tmp_path / "strong")
    return tmp_path / "weak", tmp_path / "strong"


def test_the_difference_is_that_of_the_runs_own_figures(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    row = compared(big, *pair).pairs[0].primary
    assert (row.first, row.other) == tuple(read_results(folder).primary.value for folder in pair)
    assert row.interval is not None
    assert row.interval[0] < row.difference < row.interval[1]


def test_wins_losses_and_ties_are_the_items_themselves(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    (row,) = compared(big, *pair).pairs
    assert len(row.wins) + len(row.losses) + len(row.ties) == 180
    weak, strong = (Right(big, share, seed).choose for share, seed in ((0.3, 0), (0.6, 1)))
    requests = [bare_request(item) for item in big.items()]
    right = {
        name: {item.id: chosen == item.answer for item, chosen in zip(big.items(), choose(requests), strict=True)}
        for name, choose in (("weak", weak), ("strong", strong))
    }
    assert set(row.wins) == {k for k in right["weak"] if right["strong"][k] and not right["weak"][k]}
    assert set(row.losses) == {k for k in right["weak"] if right["weak"][k] and not right["strong"][k]}


def test_turning_the_runs_around_turns_the_difference_around(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    there, back = compared(big, *pair).pairs[0], compared(big, *pair[::-1]).pairs[0]
    assert there.primary.difference == -back.primary.difference
    assert there.primary.interval is not None
    assert back.primary.interval == pytest.approx(tuple(-end for end in there.primary.interval[::-1]))
    assert (there.wins, there.losses, there.test.p) == (back.losses, back.wins, back.test.p)


def test_a_clear_difference_is_called_one(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    (row,) = compared(big, *pair).pairs
    assert row.supported
    assert row.conclusion.startswith("strong does better than weak: its accuracy is ")
    assert "points higher on the same 180 items" in row.conclusion


def test_a_difference_that_could_be_none_is_not_called_one(big: MultipleChoiceTask, tmp_path: Path) -> None:
    run_as(big, Right(big, 0.5), tmp_path / "a")
    run_as(big, Right(big, 0.5, seed=2), tmp_path / "b")
    (row,) = compared(big, tmp_path / "a", tmp_path / "b").pairs
    assert not row.supported
    assert "better" not in row.conclusion
    assert "do not tell b and a apart" in row.conclusion
    assert row.detectable is not None
    assert f"{100 * row.detectable:.1f} points would have been found" in row.conclusion
    assert row.items_needed is not None
    assert row.items_needed > 180


def test_equal_answers_say_nothing(big: MultipleChoiceTask, tmp_path: Path) -> None:
    for name in "ab":
        run_as(big, Right(big, 0.5), tmp_path / name)
    (row,) = compared(big, tmp_path / "a", tmp_path / "b").pairs
    assert (row.primary.interval, row.detectable, row.items_needed, row.test.p) == (None, None, None, 1.0)
    assert not row.supported
    assert "score the same on all of them" in row.conclusion


def test_the_items_that_both_answered_are_compared_and_the_rest_is_said(
    big: MultipleChoiceTask, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    run_as(big, Right(big, 0.9, seed=3), tmp_path / "few", limit=60)
    comparison = compared(big, pair[0], tmp_path / "few")
    assert (comparison.items, comparison.clusters, comparison.task_items) == (60, 20, 180)
    assert any("60 items that all runs answered" in note and "weak 180, few 60" in note for note in comparison.notes)
    assert comparison.pairs[0].conclusion.endswith("This is about these items, not about toy@180.")


def test_runs_without_a_common_item_are_refused(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    for folder, part in zip(pair, (slice(0, 90), slice(90, 180)), strict=True):
        lines = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
        (folder / "samples.jsonl").write_text("".join(lines[part]))
    with pytest.raises(RecordError, match="no scored item in common"):
        compared(big, *pair)


def test_few_videos_are_said_to_be_few(tmp_path: Path) -> None:
    small = toy_task(12)
    run_as(small, Right(small, 0.3), tmp_path / "a")
    run_as(small, Right(small, 0.9), tmp_path / "b")
    assert any(
        "only 4 clusters" in note and "too few for any method" in note
        for note in compared(small, tmp_path / "a", tmp_path / "b").notes
    )


def test_each_run_is_compared_with_the_first_and_p_values_are_holms(big: MultipleChoiceTask, tmp_path: Path) -> None:
    shares = {"base": 0.4, "c": 0.45, "d": 0.6, "e": 0.5}
    for seed, (name, share) in enumerate(shares.items()):
        run_as(big, Right(big, share, seed=seed), tmp_path / name)
    comparison = compared(big, *(tmp_path / name for name in shares))
    assert [(pair.first, pair.other) for pair in comparison.pairs] == [("base", name) for name in "cde"]
    assert comparison.correction == "Holm, 3 comparisons with base"
    smallest = min(comparison.pairs, key=lambda pair: pair.test.p)
    assert smallest.test.p_adjusted == pytest.approx(3 * smallest.test.p)
    alone = compared(big, tmp_path / "base", tmp_path / smallest.other).pairs[0]
    assert alone.detectable is not None
    assert smallest.detectable is not None
    assert smallest.detectable > alone.detectable


def test_records_alone_give_the_same_numbers(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    alone, with_task = compared(None, *pair), compared(big, *pair)
    assert alone.pairs == with_task.pairs
    assert any("scores are those that were recorded" in note for note in alone.notes)
    assert not (pair[0] / VECTORS).exists()


def test_replies_are_read_again_and_old_scores_are_not_trusted(big: MultipleChoiceTask, tmp_path: Path) -> None:
    """A record whose samples were scored by an older parser, and scored again since."""
    for name, letter in (("a", "A"), ("b", "B")):
        replies = {item.id: f"Answer: {letter}" for item in big.items()}
        run_as(big, ToyTalker(replies), tmp_path / name)
        path = tmp_path / name / "samples.jsonl"
        path.write_text(path.read_text().replace('"accuracy":1.0', '"accuracy":0.0'))
    values = [read_results(tmp_path / name).primary.value for name in "ab"]
    row = compared(big, tmp_path / "a", tmp_path / "b").pairs[0].primary
    assert [row.first, row.other] == values
    with pytest.raises(RecordError, match="can't be computed from the record alone"):
        compared(None, tmp_path / "a", tmp_path / "b")


def test_costs_are_those_of_the_common_items(big: MultipleChoiceTask, tmp_path: Path) -> None:
    replies = {item.id: "Answer: B" for item in big.items()}
    run_as(big, ToyTalker(replies), tmp_path / "all")
    run_as(big, ToyTalker(replies), tmp_path / "few", limit=60)
    whole, few = compared(big, tmp_path / "all", tmp_path / "few").runs
    assert few.cost.prompt_tokens_per_item == whole.cost.prompt_tokens_per_item == 129.5
    assert few.cost.frames_per_item == 8.0


def test_two_runs_of_one_name_are_told_apart_by_their_folders(big: MultipleChoiceTask, tmp_path: Path) -> None:
    for place in "xy":
        run_as(big, Right(big, 0.5), tmp_path / place / "same")
    names = {run.name for run in compared(big, tmp_path / "x" / "same", tmp_path / "y" / "same").runs}
    assert names == {str(tmp_path / place / "same") for place in "xy"}


def test_hidden_answers_are_left_out(tmp_path: Path) -> None:
    task = toy_task(90, hidden=frozenset(f"q{i:02d}" for i in range(0, 90, 3)))
    run_as(task, Right(task, 0.3), tmp_path / "a")
    run_as(task, Right(task, 0.5, seed=1), tmp_path / "b")
    assert compared(task, tmp_path / "a", tmp_path / "b").items == 60


def test_every_figure_says_which_way_is_better(big: MultipleChoiceTask, pair: tuple[Path, Path]) -> None:
    rows: dict[str, Difference] = {row.name: row for row in compared(big, *pair).pairs[0].differences}
    assert rows["accuracy"].higher_is_better
    assert not rows["unparsed_rate"].higher_is_better


def test_published_predictions_are_set_apart_by_their_known_figures(
    egoschema_500: MultipleChoiceTask, shared_data: Path, tmp_path: Path
) -> None:
    files = {"vamos": "egoschema_vamos_gpt4o_submission.csv", "akeys": "egoschema_akeys_gpt4o.json"}
    for name, file in files.items():
        path = shared_data / "predictions" / file
        arguments = ("--name", name, "--out", tmp_path / name, "--data", shared_data)
        assert longvid("egoschema", "import", path, *arguments).returncode == 0
    comparison = compared(egoschema_500, tmp_path / "vamos", tmp_path / "akeys", allow_mismatch=True)
    (pair,) = comparison.pairs
    assert (pair.primary.first, pair.primary.other) == (0.572, 0.66)
    assert len(pair.wins) - len(pair.losses) == 44
    assert comparison.clusters == 347
    assert pair.supported
    assert any("akeys was run elsewhere" in note for note in comparison.notes)


def test_one_id_about_two_files_is_two_items(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    first, *others = toy_task(12).items()
    seen = replace(first, clip=replace(first.clip, path=video))
    task = MultipleChoiceTask(toy_task(12).info, [seen, *others], toy_task(12).prompts)
    for name, content in (("a", b"one"), ("b", b"two")):
        video.write_bytes(content)
        run_as(task, Right(task, 0.5, seed=ord(name)), tmp_path / name)
    found = compared(task, tmp_path / "a", tmp_path / "b")
    assert found.items == 11
    assert "1 items are left out: the runs looked at different segments or files (q00)" in found.notes
