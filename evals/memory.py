"""The most memory this process has held."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
HIGH_WATER = re.compile(rb"VmHWM:\s*(\d+)")


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
