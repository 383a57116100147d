"""The leaderboard of the records under some folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evals.find_runs import read_runs
from evals.leaderboard.build import build_leaderboard
from evals.leaderboard.rows import Excluded, Leaderboard


def collect_leaderboard(places: Sequence[Path]) -> Leaderboard:
    """Read every run at or under `places` and build; what can't be read is excluded by its folder's name."""
    found, skipped = read_runs(places)
    unreadable = [Excluded(name=printable(run.folder.name), task=None, reason=printable(run.reason)) for run in skipped]
    return build_leaderboard((run.results for run in found), unreadable)


def printable(text: str) -> str:
    """Text that UTF-8 can hold: a folder's name may be any bytes."""
    return text.encode("utf-8", "replace").decode()
