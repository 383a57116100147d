"""One caption with its times."""

from __future__ import annotations

from dataclasses import dataclass, field

from tasks.task import TokenUsage


@dataclass(frozen=True, slots=True)
class Caption:
    """What was seen between two times (seconds), and what writing it took, where that is known."""

    start: float
    end: float
    text: str
    seconds: float = 0.0
    usage: TokenUsage = field(default_factory=TokenUsage)
