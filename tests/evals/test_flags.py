"""Flags: what all blind runs answer rightly is written down, and reports tell the rest from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from evals.compare.record import read_record
from evals.flags import GUESSABLE, NEEDS, NEEDS_FIGURE, SHIPPED, by_need, make_flags, read_flags, write_flags
from evals.leaderboard.build import collect_leaderboard
from longvid import evaluate
from tasks.errors import RecordError
from tasks.kitchen.benchmark import load_qa
from tasks.model import OptionRequest
from tests.evals.conftest import assert_one_line, longvid

RIGHT = {"q0": 0, "q1": 1, "q2": 2, "q3": 0, "q4": 1}


@dataclass
class Guesser:
    """Answers rightly what it is told to, and wrongly the rest, wherever the options stand."""

    knows: Sequence[str]
    system: str = "text"
    route: str = "given"

    def choose(self, requests: Sequence[OptionRequest]) -> list[int]:
        return [self.one(request) for request in requests]

    def one(self, request: OptionRequest) -> int:
        question = request.item_id.partition("+r")[0]
        right = request.options.index("yes")
        return right if question in self.knows else (right + 1) % 3


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "benchmark.toml").write_text('name = "own"\n')
    rows = []
    for key, place in RIGHT.items():
        options = ["no", "never"]
        options.insert(place, "yes")
        rows.append({"id": key, "video": f"v-{key}", "start": 0, "end": 9, "question": "?", "options": options})
        rows[-1]["answer"] = place
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def run(own: Path, out: Path, knows: str, pool: str = "", **declared: str) -> Path:
    return evaluate(Guesser(knows.split(), **declared), f"{own}{pool}", out=out).folder


def test_questions_that_all_blind_runs_answer_are_flagged_and_no_others(own: Path, tmp_path: Path) -> None:
    folders = [run(own, tmp_path / "a", "q0 q1 q2"), run(own, tmp_path / "b", "q1 q2 q4")]
    made = make_flags([read_record(folder) for folder in folders])
    assert made.guessable == ("q1", "q2")
    assert (made.questions, [told.right for told in made.runs]) == (5, [3, 3])
    assert made.by_luck == pytest.approx(5 / 9)


def test_a_rotated_run_counts_where_it_is_right_in_all_rotations(own: Path, tmp_path: Path) -> None:
    folders = [run(own, tmp_path / "a", "q0 q1"), run(own, tmp_path / "b", "q1 q4", "@all+rotations")]
    made = make_flags([read_record(folder) for folder in folders])
    assert made.guessable == ("q1",)
    assert made.runs[1].rotations == 3
    assert made.by_luck == pytest.approx(5 / 3**4)


def test_a_report_tells_what_needs_the_video_from_what_does_not(own: Path, tmp_path: Path) -> None:
    blind = [run(own, tmp_path / "a", "q0 q1"), run(own, tmp_path / "b", "q0 q1 q2")]
    seen = run(own, tmp_path / "seen", "q0 q1 q2 q3", system="encoder")
    file = tmp_path / "flags" / "own.json"
    done = longvid("flags", *blind, "-o", file)
    assert "2 of 5 questions of own@all are answered correctly by all 2 blind runs" in done.stdout, done.stderr
    shown = longvid("report", seen, "--flags", file).stdout
    assert f"seen: {NEEDS}: 66.7 %" in shown
    assert f"seen: {GUESSABLE}: 100.0 %" in shown
    assert "3 items" in shown


def test_a_page_and_a_leaderboard_show_all_and_what_needs_the_video_beside_each_other(
    own: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    blind = [run(own, runs / "a", "q0 q1"), run(own, runs / "b", "q0 q1 q2")]
    seen = run(own, runs / "seen", "q0 q1 q2 q3", system="encoder")
    file = tmp_path / "own.json"
    write_flags(make_flags([read_record(folder) for folder in blind]), file)
    page = tmp_path / "page.html"
    done = longvid("report", seen, "--format", "html", "--flags", file, "-o", page)
    assert done.returncode == 0, done.stderr
    assert "does it need the video?" in page.read_text()
    board = collect_leaderboard([runs], [file])
    (table,) = board.tables
    assert table.beside == (NEEDS_FIGURE,)
    shown = {row.name: (row.figure("accuracy"), row.figure(NEEDS_FIGURE)) for row in table.rows if row.kind == "run"}
    every, needing = shown["seen"]
    assert every is not None
    assert needing is not None
    assert (every.value, needing.value, needing.n) == (pytest.approx(4 / 5), pytest.approx(2 / 3), 3)
    markdown = longvid("leaderboard", runs, "--flags", file, "--format", "markdown").stdout
    assert "needs the video" in markdown
    assert "66.7 %" in markdown


def test_flags_that_are_of_none_of_the_runs_are_refused(own: Path, tmp_path: Path) -> None:
    blind = [run(own, tmp_path / "a", "q0"), run(own, tmp_path / "b", "q0")]
    made = make_flags([read_record(folder) for folder in blind])
    write_flags(made.model_copy(update={"task": "other@all"}), tmp_path / "flags.json")
    with pytest.raises(RecordError, match="has flags of other@all, and none of the runs is of it"):
        collect_leaderboard([tmp_path], [tmp_path / "flags.json"])


def test_flags_survive_being_written_and_a_change_by_hand_is_noticed(own: Path, tmp_path: Path) -> None:
    folders = [run(own, tmp_path / "a", "q0"), run(own, tmp_path / "b", "q0")]
    made, file = make_flags([read_record(folder) for folder in folders]), tmp_path / "flags.json"
    write_flags(made, file)
    assert read_flags(file).guessable == made.guessable
    file.write_text(file.read_text().replace('"q0"', '"q3"'))
    with pytest.raises(RecordError, match="changed by hand"):
        read_flags(file)


def test_a_shipped_file_is_found_by_its_name_and_an_unknown_name_lists_those_there_are(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_flags([read_record(run(own, tmp_path / name, "q0")) for name in "ab"])
    write_flags(made, tmp_path / "shipped" / "own@all.guesser.json")
    monkeypatch.setattr("evals.flags.SHIPPED", tmp_path / "shipped")
    assert read_flags(Path("own@all.guesser")).guessable == ("q0",)
    done = longvid("leaderboard", tmp_path, "--flags", "own@all.other")
    assert_one_line(done, "there is no file of flags own@all.other", "longvid: own@all.guesser")


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_file_names_questions_of_its_pool_and_no_path_of_a_machine(path: Path) -> None:
    flags = read_flags(Path(path.stem))
    benchmark, _, pool = flags.task.partition("@")
    known = {item.id for item in load_qa(Path("nowhere"), pool).items()}
    assert benchmark == "kitchen-qa"
    assert len(known) == flags.questions
    assert set(flags.guessable) <= known
    assert all(not Path(value).is_absolute() for run in flags.runs for value in run.options.values())


def refused(own: Path, tmp_path: Path) -> Mapping[str, tuple[list[Path], str]]:
    blind = run(own, tmp_path / "blind", "q0")
    return {
        "one run": ([blind], "two or more different blind runs"),
        "the same run twice": ([blind, blind], "two or more different blind runs"),
        "a run that sees": ([blind, run(own, tmp_path / "sees", "q0", system="encoder")], "runs that see no video"),
    }


@pytest.mark.parametrize("case", ["one run", "the same run twice", "a run that sees"])
def test_what_can_make_no_flags_is_refused_in_a_line(own: Path, tmp_path: Path, case: str) -> None:
    folders, told = refused(own, tmp_path)[case]
    done = longvid("flags", *folders, "-o", tmp_path / "flags.json")
    assert done.returncode == 2
    assert_one_line(done, told)
    assert not (tmp_path / "flags.json").exists()


def test_flags_of_another_benchmark_are_refused(own: Path, tmp_path: Path) -> None:
    folders = [run(own, tmp_path / "a", "q0"), run(own, tmp_path / "b", "q0")]
    made = make_flags([read_record(folder) for folder in folders])
    with pytest.raises(RecordError, match="the flags are of own@all"):
        by_need(folders[0], "other@all", made)
