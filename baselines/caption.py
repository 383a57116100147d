"""One caption with its times."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caption:
    """What was seen between two times (seconds)."""

    start: float
    end: float
    text: str
