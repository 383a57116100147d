"""Terminals of 50 to 120 columns: no word broken, no line too long, no table empty, and the finding said in words."""

from __future__ import annotations

import io
import json
import os
import pty
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from evals import console
from evals.demo.command import show_leaderboard
from evals.findings import board_findings, run_finding
from evals.leaderboard.build import build_leaderboard
from evals.preparing import warn_of_kitchen
from evals.record import Cost, ModelRow, Results
from evals.store import write_sealed
from tests.conftest import ROOT
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import longvid, toy_task
from tests.evals.records import TASK, metric, results_of

WIDTHS = (50, 60, 80, 120)
OTHER = replace(TASK, name="another-task-of-retrieval@1000", items_sha256="6" * 64)
THIRD = replace(TASK, name="a-third-task@500", items_sha256="7" * 64)
Screen = Callable[[int], io.StringIO]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal of so many columns: what it shows."""

    def of(width: int) -> io.StringIO:
        shown = io.StringIO()
        for name in ("out", "err"):
            terminal = Console(
                file=shown, width=width, force_terminal=True, color_system=None, highlight=False, emoji=False
            )
            monkeypatch.setattr(console, name, terminal)
        return shown

    return of


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs of two systems on a toy task and records of further tasks; called `runs` from the working directory."""
    monkeypatch.chdir(tmp_path)
    task = toy_task(60)
    run_as(task, Right(task, 0.3), Path("runs") / "aggregator-with-oracle-captions")
    run_as(task, Right(task, 0.8, seed=1), Path("runs") / "LongViViT")
    for number, (name, value, of) in enumerate(
        [("LongViViT, video-to-text", 0.5, TASK), ("LongViViT, video-to-text", 0.6, OTHER), ("ImageViT", 0.4, OTHER),
         ("ImageViT", 0.3, THIRD), ("blind SmolLM2", 0.2, TASK)]
    ):  # fmt: skip
        model = ModelRow(name="blind" if name.startswith("blind") else "longvivit-tiny", options={"n": str(number)})
        folder = Path("runs") / f"record-{number}"
        folder.mkdir()
        write_sealed(folder, results_of(name, value, task=of, model=model))
    return Path("runs")


COMMANDS = (
    ("runs", "runs"),
    ("leaderboard", "runs"),
    ("leaderboard", "runs", "--compact"),
    ("compare", "runs/LongViViT", "runs/aggregator-with-oracle-captions"),
    ("benchmarks",),
    ("models",),
    ("models", "aggregator"),
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_table_fits_the_terminal_with_its_words_whole(
    arguments: tuple[str, ...], runs: Path, screen: Screen
) -> None:
    everything = set(console_words(screen, 1000, arguments))
    for width in WIDTHS:
        shown = screen(width)
        assert longvid(*arguments).returncode in {0, 1}
        lines = shown.getvalue().splitlines()
        # A path that is longer than a line stays whole, so that it can be copied.
        assert not [line for line in lines if cell_len(line) > width and len(line.split()) > 1]
        assert (
            set(" ".join(lines).split())
            - rules(lines)
            - everything
            - {"not", "shown:", "(--wide)"}
            - {f"{word}," for word in everything}
            == set()
        )
        assert len(lines) > 2


def console_words(screen: Screen, width: int, arguments: tuple[str, ...]) -> list[str]:
    shown = screen(width)
    longvid(*arguments)
    facts = [f"{word}:" for word in shown.getvalue().split()]
    return [*shown.getvalue().split(), *facts]


def rules(lines: list[str]) -> set[str]:
    return {word for line in lines for word in line.split() if set(word) == {"─"}}


@pytest.mark.parametrize("width", WIDTHS)
def test_what_matters_most_is_there_at_every_width(width: int, runs: Path, screen: Screen) -> None:
    shown = screen(width)
    longvid("leaderboard", runs, "--compact")
    text = " ".join(shown.getvalue().split())
    for told in ("another-task-of-retrieval@1000", "a-third-task@500", "toy@500", "toy@60", "30.0 % (26.0–34.0)"):
        assert told in text
    shown = screen(width)
    longvid("leaderboard", runs)
    text = " ".join(shown.getvalue().split())
    for told in ("LongViViT", "60.0 %", "56.0–64.0", "floor"):
        assert told in text


def test_wide_leaves_nothing_out(runs: Path, screen: Screen) -> None:
    shown = screen(60)
    longvid("leaderboard", runs, "--wide")
    text = shown.getvalue()
    assert "not shown" not in text
    for name in ("route", "parameters", "peak GB", "tokens in + out"):
        assert name in text


def test_columns_that_are_left_out_are_named(runs: Path, screen: Screen) -> None:
    shown = screen(60)
    longvid("runs", runs)
    text = " ".join(shown.getvalue().split())
    assert "route" not in text.partition("not shown:")[0]
    assert "route (--wide)" in text


def test_below_sixty_columns_each_fact_has_a_line(runs: Path, screen: Screen) -> None:
    shown = screen(59)
    longvid("runs", runs)
    lines = shown.getvalue().splitlines()
    assert lines[1:5] == ["record-3", "  value: 30.0 %", "  task: a-third-task@500", "  status: complete"]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4), st.integers(10, 130))
def test_no_table_is_wider_than_its_terminal_whatever_is_in_it(rows: list[tuple[str, ...]], width: int) -> None:
    shown, before = io.StringIO(), (console.out, console.err)
    console.out = console.err = Console(
        file=shown, width=width, force_terminal=True, color_system=None, highlight=False, emoji=False
    )
    try:
        console.show_table("t", ("name", "value", "kind"), rows, ("value",), least=("kind",))
    finally:
        console.out, console.err = before
    assert all(cell_len(line) <= width for line in shown.getvalue().splitlines())


def test_a_table_without_rows_is_a_line_that_says_so(screen: Screen, tmp_path: Path) -> None:
    write_sealed_half(tmp_path)
    for width in (50, 80):
        shown = screen(width)
        longvid("leaderboard", tmp_path, "--compact")
        assert shown.getvalue().splitlines()[0] == "complete runs: none"


def write_sealed_half(place: Path) -> None:
    (place / "half").mkdir()
    write_sealed(place / "half", results_of("half", answered=3))


def test_a_comparison_begins_with_its_conclusion(runs: Path, screen: Screen) -> None:
    shown = screen(80)
    longvid("compare", "runs/aggregator-with-oracle-captions", "runs/LongViViT")
    assert shown.getvalue().startswith("LongViViT does better than aggregator-with-oracle-captions:")


def test_a_runs_finding_sets_it_beside_the_best_of_its_floors(tmp_path: Path) -> None:
    task = toy_task(60)
    results = run_as(task, Right(task, 0.8, seed=1), tmp_path / "LongViViT")
    assert run_finding(results).startswith("LongViViT: accuracy 76.7 % (95 % interval 66.7–84.3) on 60 items; ")
    assert run_finding(results).endswith("; better than its best floor, constant (choice=2) at 25.0 %.")
    blind = results_of("SmolLM2", 0.9)
    assert run_finding(results, [blind]).endswith("; worse than its best floor, SmolLM2 at 90.0 %.")


def test_a_run_says_what_it_is_and_what_to_do_next(tmp_path: Path) -> None:
    row = {"start": 0, "end": 9, "question": "?", "options": ["a", "b"], "answer": 0}
    rows = [json.dumps({"id": f"q{n}", "video": f"v{n}.mp4", **row}) for n in range(12)]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows))
    out = tmp_path / "run"
    done = longvid("run", tmp_path / "mine.jsonl", "-m", "constant", "-M", "choice=1", "-o", out, "--limit", 9)
    finding, page, following = done.stdout.splitlines()[-3:]
    assert finding.startswith("run: accuracy 0.0 %")
    assert "9 items of 12, which is no result of" in finding
    assert "worse than its best floor, constant (choice=0) at 100.0 %." in finding
    assert page == f"page: longvid report {out} --format html"
    assert following == "next: the same command without --limit answers all 12 items"
    done = longvid("run", tmp_path / "mine.jsonl", "-m", "constant", "-M", "choice=1", "-o", out)
    assert done.stdout.splitlines()[-1].startswith(f"next: longvid run {tmp_path / 'mine.jsonl'} -m blind")


def suggested(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The arguments of the command that a run ends with."""
    assert done.returncode == 0, done.stderr
    lead, *arguments = shlex.split(done.stdout.splitlines()[-1].removeprefix("next: "))
    assert lead == "longvid"
    return arguments


@pytest.mark.parametrize("asked", [("--rotations", 2), ("--rotations", "all")])
def test_the_blind_run_suggested_after_questions_in_rotation_is_one_that_lists_the_options(
    tmp_path: Path, shared_data: Path, asked: tuple[object, ...]
) -> None:
    command = ("run", "egoschema@500", "-m", "longest-option", *asked, "-o", tmp_path / "run", "--data", shared_data)
    _, task, *model = suggested(longvid(*command))
    assert "+rotations" in task
    assert model == ["-m", "blind", "-M", "llm=smollm2", "-M", "route=letter-logprob"]


def test_the_blind_run_suggested_after_a_pool_of_a_folder_is_on_that_pool(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "benchmark.toml").write_text('name = "mine"\n[pools.order]\nlabels = {kind = "order"}\n')
    row = {"start": 0, "end": 9, "question": "?", "options": ["a", "b"], "answer": 0, "labels": {"kind": "order"}}
    rows = [json.dumps({"id": f"q{n}", "video": f"v{n}.mp4", **row}) for n in range(12)]
    (tmp_path / "set" / "questions.jsonl").write_text("\n".join(rows))
    done = longvid("run", f"{tmp_path / 'set'}@order", "-m", "constant", "-o", tmp_path / "run")
    assert suggested(done)[:2] == ["run", f"{tmp_path / 'set'}@order"]


def test_the_list_of_benchmarks_says_at_80_columns_which_are_here(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    done = longvid("benchmarks", "--data", shared_data)
    here = {words[0]: words[1] for line in done.stdout.splitlines() if len(words := line.split()) > 2}
    assert here["egoschema"] == "yes"
    assert here["kitchen-qa"] == "no"
    assert "longvid prepare NAME" in done.stdout


def model(name: str, system: str | None = None) -> ModelRow:
    return ModelRow(name=name, options={}, system=system)


def board(*records: Results) -> list[str]:
    return board_findings(build_leaderboard(records, published=[]))


def test_findings_name_the_best_run_its_rival_and_the_words_alone() -> None:
    best, rival, words = board(
        results_of("LongViViT", 0.6, model=model("longvivit-tiny", "encoder")),
        results_of("ShortViViT", 0.59, model=model("shortvivit-tiny", "encoder")),
        results_of("reader", 0.4, model=model("aggregator", "aggregator")),
        results_of("SmolLM2", 0.24, model=model("blind", "text")),
    )
    assert best == (
        "toy@500, accuracy: LongViViT (60.0 %, 56.0–64.0) is best of 3 runs and better than the best floor, "
        "SmolLM2 (24.0 %, 20.0–28.0)."
    )
    assert rival == (
        "Encoder and aggregator: LongViViT is better than reader (40.0 %, 36.0–44.0), their intervals lying apart."
    )
    assert words.startswith("The words alone show no shortcut: SmolLM2 (24.0 %, 20.0–28.0) is not dist")


def test_findings_that_do_not_hold_are_not_claimed() -> None:
    best, rival, words = board(
        results_of("reader", 0.26, model=model("aggregator", "aggregator")),
        results_of("LongViViT", 0.25, model=model("longvivit-tiny", "encoder")),
        results_of("SmolLM2", 0.5, model=model("blind", "text")),
    )
    assert "reader (26.0 %, 22.0–30.0) is best of 2 runs and worse than the best floor, SmolLM2 (50.0 %" in best
    assert "overlap, which settles nothing" in rival
    assert words.startswith("The words alone give answers away: SmolLM2 (50.0 %")


def test_findings_of_a_board_without_floors_rivals_or_words() -> None:
    assert board() == ["No run here is complete: there is nothing to find yet."]
    assert board(results_of("half", 0.9, answered=3)) == board()
    best, words = board(results_of("LongViViT", 0.23, model=model("longvivit-tiny", "encoder")))
    assert "is the only run and not distinguishable from the best floor, constant (choice=4)" in best
    assert words == "No blind run is among them: what the words alone give away is not known."
    level, *_ = board(
        results_of("one", 0.5, model=model("a", "encoder")), results_of("two", 0.5, model=model("b", "encoder"))
    )
    assert "level with" in level


def test_the_best_run_s_rival_is_no_floor_that_was_run_while_another_kind_is_there() -> None:
    def rival(*others: Results) -> str:
        return board(results_of("LongViViT", 0.6, model=model("longvivit-tiny", "encoder")), *others)[1]

    floor = results_of("longest", 0.3, model=model("longest-option", "floor"))
    assert "longest" in rival(floor)
    assert "reader" in rival(floor, results_of("reader", 0.25, model=model("aggregator", "aggregator")))


def test_findings_turn_round_where_lower_is_better() -> None:
    def lower(name: str, value: float) -> Results:
        made = results_of(name, value, model=model(name, "encoder"))
        (first, *others), floors = made.metrics, made.floors
        turned = tuple(
            floor.model_copy(update={"metric": replace(floor.metric, higher_is_better=False)}) for floor in floors
        )
        changes = {"metrics": (replace(first, higher_is_better=False), *others), "floors": turned}
        return made.model_copy(update=changes)

    best, rival, _ = board(lower("good", 0.05), lower("bad", 0.5))
    assert best.startswith("toy@500, accuracy: good (5.0 %, 1.0–9.0) is best of 2 runs and better than the best floor")
    assert "chance (20.0 %" in best
    assert "good is better than bad" in rival


def test_retrieval_is_told_by_cost_where_no_words_give_it_away() -> None:
    task = replace(TASK, family="retrieval", primary_metric="t2v_r1")

    def timed(name: str, value: float, seconds: float) -> Results:
        made = results_of(name, value, task=task, model=model(name, "encoder"))
        cost: Cost = made.cost.model_copy(update={"seconds_per_item": seconds})
        return made.model_copy(update={"metrics": (metric(value, "t2v_r1"),), "cost": cost})

    *_, cost = board(timed("slow", 0.6, 3.0), timed("fast", 0.3, 1.0))
    assert cost == "fast (30.0 %, 26.0–34.0) is the fastest: slow takes 3.0 times as long for an item."
    assert len(board(timed("slow", 0.6, 1.1), timed("fast", 0.3, 1.0))) == 2


def test_the_demo_ends_with_three_findings_the_page_and_the_next_command(runs: Path, screen: Screen) -> None:
    Path("out").mkdir()
    runs.rename("out/runs")
    shown = screen(200)
    show_leaderboard(Path("out"), "longvid demo --out out")
    *_, first, second, third, page, following = shown.getvalue().splitlines()
    assert "is best of 2 runs" in first
    assert "overlap" in second or "lying apart" in second
    assert third.startswith(("The words alone", "No blind run"))
    assert page.endswith("out/index.html")
    assert following.startswith("next: longvid ")


@pytest.mark.parametrize(
    ("finished", "seconds", "left"),
    [(1, 60.0, None), (2, 60.0, None), (3, 1.0, None), (3, 6.0, 20.0), (10, 50.0, 50.0)],
)
def test_what_is_left_is_said_once_it_means_something(finished: int, seconds: float, left: float | None) -> None:
    assert console.seconds_left(finished, seconds, 10) == left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1 h 30 min"), (7500, "2 h 05 min")],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_a_log_says_nothing_of_the_rest_after_one_item(capsys: pytest.CaptureFixture[str]) -> None:
    tick = console.plain_ticker("toy", 9, 0)
    tick("accuracy 1.000")
    assert "left" not in capsys.readouterr().err


def test_a_log_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.plain_ticker("toy", 9, 0)("failed: [nan, nan]")
    assert "failed: [nan, nan]" in capsys.readouterr().err


def test_what_is_loaded_is_said_on_a_terminal_at_once(screen: Screen) -> None:
    shown = screen(80)
    with console.working("loading a model"):
        assert shown.getvalue() == "loading a model\n"


@pytest.mark.parametrize(
    ("options", "names", "warned"),
    [
        ({"weights": "kitchen"}, ["a.mp4"], True),
        ({"v2t": "kitchen:shortvivit-tiny-v2t"}, ["kitchen-test-0001-a", "b"], True),
        ({"encoder": "shortvivit-tiny:weights=kitchen"}, ["b"], True),
        ({"weights": "kitchen"}, ["kitchen-test-0001-a", "kitchen-train-0123-d.mp4"], False),
        ({"weights": "my-kitchen.safetensors"}, ["b"], False),
        ({}, ["b"], False),
    ],
)
def test_kitchens_weights_on_other_videos_are_a_warning(
    options: dict[str, str], names: list[str], warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_of_kitchen(options, names)
    assert ("learnt from kitchen's generated videos alone" in capsys.readouterr().err) is warned


def test_a_real_terminal_is_read_by_its_columns(runs: Path) -> None:
    host, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    subprocess.run(
        [sys.executable, "-m", "evals.cli", "leaderboard", "runs", "--compact"],
        stdin=terminal, stdout=terminal, stderr=terminal, check=True,
        env={**environment, "PYTHONPATH": str(ROOT), "TERM": "dumb"},
    )  # fmt: skip
    os.close(terminal)
    lines = os.read(host, 1 << 16).decode().splitlines()
    os.close(host)
    assert len(lines) > 8
    assert all(cell_len(line.rstrip()) <= 80 for line in lines)
    assert max(cell_len(line.rstrip()) for line in lines) > 60
