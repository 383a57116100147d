"""Records as static, self-contained HTML pages: no server, no network, and nothing from a record is ever executed."""

from evals.html_report.table import leaderboard_page

__all__ = ["leaderboard_page"]
