"""Markdown cells stay text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evals.report import in_markdown, table_lines


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4))
def test_whatever_the_cells_hold_the_table_keeps_its_lines_and_columns(rows: list[tuple[str, str]]) -> None:
    lines = table_lines(("a", "b"), rows, ("b",))
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert len(line.splitlines()) == 1
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 3


def test_neither_markdown_nor_html_acts() -> None:
    assert in_markdown("<script>") == "&lt;script&gt;"
    assert in_markdown("[a](b) *c* &lt;") == "\\[a\\](b) \\*c\\* \\&lt;"


def test_numbers_are_set_right() -> None:
    assert table_lines(("a", "b"), [], ("b",))[1] == "|---|---:|"
