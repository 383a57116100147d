"""The most memory this process has held."""

from __future__ import annotations

import re
import resource
import sys
from functools import lru_cache
from pathlib import Path
from time import monotonic

STATUS = Path("/proc/self/status")
RECENT_SECONDS = 0.02
HIGH_WATER = re.compile(rb"VmHWM:\s*(\d+)")


def recent_peak_bytes() -> int:
    """The same as a moment ago: reading it again for each answer of a cheap model takes longer than the answer."""
    return _peak_at(int(monotonic() / RECENT_SECONDS))


@lru_cache(maxsize=1)
def _peak_at(moment: int) -> int:  # noqa: ARG001 - another moment, another value
    return peak_memory_bytes()


def peak_memory_bytes() -> int:
    """Peak resident memory of this process alone.

    Linux's `ru_maxrss` begins at the peak of whatever process started this one, so its own high-water mark is read
    where the system tells it.
    """
    try:
        with STATUS.open("rb", buffering=0) as file:
            found = HIGH_WATER.search(file.read())
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
