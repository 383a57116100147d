"""A leaderboard as a page: a table per task and pool, with its plot of figure against cost."""

from __future__ import annotations

from evals.html_report.render import render
from evals.html_report.table import table_view
from evals.html_report.terms import terms
from evals.leaderboard.rows import Leaderboard


def leaderboard_page(leaderboard: Leaderboard, title: str = "Leaderboard") -> str:
    """The page, a pure function of the leaderboard."""
    views = [table_view(table, number) for number, table in enumerate(leaderboard.tables)]
    words = terms(table.task.family for table in leaderboard.tables)
    return render("board.html.j2", title=title, views=views, excluded=leaderboard.excluded, terms=words)
