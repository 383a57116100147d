"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, whether it is there, and what was found; a missing optional one is no fault."""

    what: str
    ok: bool
    found: str
    optional: bool = False
