"""Measurements of the suite itself: its speed compared with peers, and cost and accuracy of the paper's methods.

Its commands are plugins like any others (tasks/registry.py); nothing else imports this package.
"""

from __future__ import annotations

from tasks.registry import CommandEntry

COMMANDS = (
    CommandEntry(
        name="bench",
        summary="Measure speed side by side with other libraries.",
        target="lab.bench.command:app",
    ),
    CommandEntry(
        name="study",
        summary="Train the paper's methods side by side and compare them.",
        target="lab.studies.command:app",
    ),
)
