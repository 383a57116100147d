"""All tables of a leaderboard as one."""

from __future__ import annotations

from dataclasses import replace

from evals.leaderboard.build import Reference, build_leaderboard
from evals.leaderboard.compact import compact, compact_markdown, compact_remarks
from evals.leaderboard.rows import Leaderboard
from tests.evals.records import TASK, results_of

OTHER = replace(TASK, name="other@500")


def board() -> Leaderboard:
    return build_leaderboard(
        [
            results_of("encoder", 0.8),
            results_of("encoder", 0.6, task=OTHER),
            results_of("blind", 0.3),
            results_of("half", 0.9, answered=9),
        ],
        published=[],
    )


def line(name: str) -> tuple[str, ...]:
    return next(row for row in compact(board()).rows if row[0].startswith(name))


def test_a_system_is_one_line_with_its_tasks_side_by_side() -> None:
    assert compact(board()).columns[1:3] == ("toy@500 accuracy", "other@500 accuracy")
    assert line("encoder")[1:3] == ("80.0 % (76.0–84.0)", "60.0 % (56.0–64.0)")


def test_what_was_not_run_is_no_zero() -> None:
    assert line("blind")[2] == line("chance")[-1] == "–"


def test_floors_stand_last_with_their_intervals() -> None:
    rows = compact(board()).rows
    kinds = [row[0].endswith("(floor)") for row in rows]
    assert kinds == sorted(kinds)
    assert line("chance")[1].startswith("20.0 % (")


def test_two_runs_of_one_name_are_two_lines() -> None:
    twins = build_leaderboard([results_of("twin", 0.5), results_of("twin", 0.4, seed=3)], published=[])
    assert [row[0] for row in compact(twins).rows][:2] == ["twin", "twin (2)"]


def test_what_was_not_run_here_is_marked_and_shares_no_line_with_a_run_of_that_name() -> None:
    published = Reference(
        task=TASK.name, name="LongViViT", protocol="zero-shot", source="a paper", figures={"accuracy": 0.568}
    )
    made = build_leaderboard(
        [results_of("LongViViT", 0.6, task=OTHER), results_of("LongViViT", 0.7)], published=[published]
    )
    rows = {row[0]: row[1:3] for row in compact(made).rows}
    assert [value.split()[0] for value in rows["LongViViT"]] == ["70.0", "60.0"]
    assert rows["LongViViT (published: not run here)"] == ("56.8 % (–)", "–")


def test_a_remark_names_the_task_that_it_is_about() -> None:
    told = compact_remarks(board())
    assert [remark.partition(": no blind run")[0] for remark in told] == ["other@500", "toy@500"]
    assert {f"- {remark}" for remark in told} <= set(compact_markdown(board()).splitlines())


def test_markdown_says_what_was_left_out() -> None:
    text = compact_markdown(board())
    assert text.startswith("| system |")
    assert "left out: half" in text
