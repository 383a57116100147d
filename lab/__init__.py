"""Measurements of the suite itself: speed beside its peers, and what the paper's methods cost and give.

Its commands are found as anybody's are (tasks/registry.py); nothing else imports this package.
"""

from __future__ import annotations

from tasks.registry import CommandEntry

COMMANDS = (
    CommandEntry(
        name="bench",
        summary="Measure speed side by side with the peers.",
        target="lab.bench.command:app",
    ),
    CommandEntry(
        name="study",
        summary="Train the paper's methods side by side and compare them.",
        target="lab.studies.command:app",
    ),
)
