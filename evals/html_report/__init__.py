"""Records as static, self-contained HTML pages: no server, no network, nothing from a record is ever obeyed."""

from evals.html_report.board_page import leaderboard_page
from evals.html_report.run_page import read_run_files, run_page

__all__ = ["leaderboard_page", "read_run_files", "run_page"]
