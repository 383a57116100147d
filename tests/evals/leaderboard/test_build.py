"""A leaderboard is a pure function of records: complete runs only, floors and references as marked rows."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from evals.leaderboard.build import Reference, build_leaderboard, references
from evals.leaderboard.rows import BoardRow, Leaderboard
from evals.record import ModelRow, Results
from tasks.registry import benchmarks
from tests.evals.records import TASK, results_of

PUBLISHED = Reference(
    task="toy@500", name="the paper's", protocol="zero-shot", source="a paper", figures={"accuracy": 0.568}
)


def names(board: Leaderboard, table: int = 0) -> list[str]:
    return [row.name for row in board.tables[table].rows]


def row(board: Leaderboard, name: str) -> BoardRow:
    return next(row for row in board.tables[0].rows if row.name == name)


def many() -> list[Results]:
    return [
        *(results_of(f"run {i}", value=i / 40) for i in range(30)),
        results_of("twin", 0.5),
        results_of("twin", 0.5, seed=3),
        results_of("half", 0.5, answered=250),
        results_of("elsewhere", 0.5, task=replace(TASK, name="other@500")),
    ]


def test_any_order_of_records_gives_the_same_bytes() -> None:
    records = many()
    expected = build_leaderboard(records, published=[PUBLISHED]).model_dump_json()
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert build_leaderboard(records, published=[PUBLISHED]).model_dump_json() == expected


def test_rows_are_best_first_with_floors_and_references_among_them() -> None:
    board = build_leaderboard([results_of("low", 0.1), results_of("high", 0.6)], published=[PUBLISHED])
    assert names(board) == ["high", "the paper's", "constant (choice=4)", "chance", "low"]


def test_each_task_and_pool_has_its_own_table() -> None:
    other = replace(TASK, name="toy@5031")
    board = build_leaderboard([results_of("a"), results_of("b", task=other)], published=[])
    assert [table.task.name for table in board.tables] == ["toy@500", "toy@5031"]
    assert names(board, 1) == ["b", "constant (choice=4)", "chance"]


def test_other_items_under_the_same_name_have_a_table_of_their_own() -> None:
    other = replace(TASK, items_sha256="6" * 64)
    assert len(build_leaderboard([results_of("a"), results_of("b", task=other)], published=[]).tables) == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (results_of("half", 0.5, answered=250), "partial: 250 of 500 items answered"),
        (results_of("few", 0.5, answered=20, limit=20), "partial: limited to 20 of 500 items"),
        (results_of("none", None, answered=0), "failed: 0 of 500 items answered"),
    ],
    ids=["partial", "limited", "failed"],
)
def test_what_is_not_complete_is_excluded_with_the_reason(record: Results, reason: str) -> None:
    board = build_leaderboard([record], published=[PUBLISHED])
    assert board.tables == ()
    assert [(row.name, row.task, row.reason) for row in board.excluded] == [(record.name, "toy@500", reason)]


def test_a_copy_of_a_record_counts_once_and_is_named() -> None:
    board = build_leaderboard([results_of("a"), results_of("a")], published=[])
    assert names(board).count("a") == 1
    assert [row.reason for row in board.excluded] == ["a copy of another record"]


def test_a_repeat_of_a_run_is_a_row_of_its_own() -> None:
    board = build_leaderboard([results_of("a", 0.5), results_of("a", 0.51)], published=[])
    assert names(board).count("a") == 2


def test_only_what_longvid_ran_is_marked_as_run_here() -> None:
    board = build_leaderboard(
        [
            results_of("ours"),
            results_of("theirs", imported=True),
            results_of("words", model=ModelRow(name="blind", options={})),
        ],
        published=[PUBLISHED],
    )
    kinds = {row.name: (row.kind, row.run_here) for row in board.tables[0].rows}
    assert kinds["ours"] == ("run", True)
    assert kinds["words"] == ("blind", True)
    assert kinds["chance"] == ("floor", True)
    assert kinds["theirs"] == ("imported", False)
    assert kinds["the paper's"] == ("reference", False)
    assert row(board, "the paper's").source == "a paper"


def test_a_record_carries_its_cost_and_a_reference_none() -> None:
    board = build_leaderboard([results_of("ours")], published=[PUBLISHED])
    cost = row(board, "ours").cost
    assert (cost.frames_per_item, cost.prompt_tokens_per_item, cost.seconds_per_item) == (16.0, 100.0, 0.2)
    assert (cost.peak_memory_bytes, cost.parameters) == (1 << 30, 7)
    assert set(row(board, "the paper's").cost.model_dump().values()) == {None}


def test_a_figure_that_is_not_known_stands_last() -> None:
    board = build_leaderboard([results_of("hidden", None), results_of("seen", 0.01)], published=[])
    assert names(board)[-1] == "hidden"


def test_a_table_without_a_blind_run_says_so() -> None:
    assert any("no blind run" in note for note in build_leaderboard([results_of()], published=[]).tables[0].notes)


def test_every_reference_names_a_task_of_ours_a_source_and_a_protocol() -> None:
    known = {name for benchmark in benchmarks().entries.values() for name in benchmark.names().values()}
    for reference in references():
        assert reference.task in known
        assert reference.source
        assert reference.protocol
        assert reference.figures


def test_no_reference_stands_there_twice() -> None:
    keys = [(reference.task, reference.name) for reference in references()]
    assert len(set(keys)) == len(keys)


def test_the_papers_long_video_figure_is_among_the_references() -> None:
    (row,) = [r for r in references() if r.name == "LongViViT (paper)" and r.task == "egoschema@500"]
    assert row.figures == {"accuracy": 0.568}
    assert "2312.07395" in row.source
