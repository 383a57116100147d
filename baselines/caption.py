"""One caption with its times."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.task import TokenUsage

SAID = "said: "
"""Stands before what is said, among captions of what is seen."""


@dataclass(frozen=True, slots=True)
class Caption:
    """What was seen, or is `spoken`, between two times (seconds), and what writing it took, where that is known."""

    start: float
    end: float
    text: str
    seconds: float = 0.0
    usage: TokenUsage = field(default_factory=TokenUsage)
    spoken: bool = False
