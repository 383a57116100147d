"""Records as static, self-contained HTML pages: no server, no network, nothing from a record is ever obeyed."""

from evals.html_report.table import leaderboard_page

__all__ = ["leaderboard_page"]
