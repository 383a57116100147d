"""Labels for breakdowns: those of an item, and those that every clip has."""

from __future__ import annotations

from math import isfinite

from tasks.task import Item

# Upper ends in seconds. 256 s is the limit of the paper's longest encoder at 1 FPS; the others are our choice.
LENGTHS: tuple[tuple[float, str], ...] = (
    (10, "up to 10 s"),
    (30, "10–30 s"),
    (60, "30–60 s"),
    (120, "1–2 min"),
    (256, "2 min–256 s"),
    (360, "256 s–6 min"),
    (600, "6–10 min"),
    (1800, "10–30 min"),
    (3600, "30 min–1 h"),
    (7200, "1–2 h"),
)
LONGEST = "over 2 h"
OVER_10_MIN = "over 10 min"
"""The last four as one, in records from before they were told apart."""
THIRDS = ("first third", "middle third", "last third")
SPANS: tuple[tuple[float, str], ...] = (
    (0.25, "within a quarter"),
    (0.5, "a quarter to a half"),
    (0.75, "a half to three quarters"),
)
WIDEST = "over three quarters"
LENGTH, DEPTH = "length", "depth of the event"
"""Kinds of label: how long a video is, and where in it something happens. Pages draw a picture of both."""
FIFTHS = ("0–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %")


def labels_of(item: Item) -> dict[str, str]:
    """Return all labels of an item: its own, and its clip's length, if known and not among them."""
    if LENGTH in item.labels or not isfinite(item.clip.duration):
        return dict(item.labels)
    return {**item.labels, LENGTH: length_label(item.clip.duration)}


def length_label(seconds: float) -> str:
    """Return the range of a length; a range includes its upper end."""
    return next((name for end, name in LENGTHS if seconds <= end), LONGEST)


def position_label(start: float, end: float, duration: float) -> str:
    """Return the third of a video (our choice) that holds the middle of a segment; all times in seconds."""
    middle = (start + end) / 2 / duration
    return THIRDS[min(int(middle * len(THIRDS)), len(THIRDS) - 1)]


def span_label(start: float, end: float, duration: float) -> str:
    """Return the share of a video that a segment takes (our choice of ranges); a range includes its upper end."""
    return next((name for share, name in SPANS if (end - start) / duration <= share), WIDEST)
