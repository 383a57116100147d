"""Frame sampling: a pure function from policy and clip to time stamps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from encoders.video_errors import FramePolicyError

# Tolerance for float arithmetic: a clip of 10.0000001 s at 1 FPS has 10 frames.
_ROUNDING = 1e-6
MOST_FRAMES = 16_384
"""Most frames of a clip: 4.5 hours at 1 FPS. More is a typing error that would fill the memory or run for hours."""
LEAST_PIXELS = 28 * 28
"""Fewest pixels of a frame: one token of the models with the smallest tokens. Fewer is a typing error."""
# Beyond a few thousand frames, more per second than any camera records only repeat the same frame.
_MANY_FRAMES, _MOST_PER_SECOND = 4096, 1000


@dataclass(frozen=True, slots=True)
class FramePolicy:
    """Which frames of a clip are taken, and in what shape.

    Either `count` frames at the mid-points of equal segments, or `fps` frames per second on a regular grid
    centred in the clip, at most `cap` of them. When `fps` would give more, `beyond_cap` says whether
    to `spread` the `cap` frames over the whole clip (our choice) or to `cut` the clip after `cap / fps` seconds
    (what 256 frames at 1 FPS do to longer videos in the paper).

    `size` is the side of the square: with `fit="crop"` the short side is scaled to `size` and the
    centre kept, as open_clip's own transform does; with `fit="squash"` the whole picture is scaled to the
    square (nothing is lost, shapes are distorted). `size=None` keeps the stored pixels.

    `fit="keep"` takes no `size`: the whole picture, with its displayed aspect ratio, is scaled down to at most `pixels`
    pixels and never scaled up. `total_pixels` limits the pixels of all frames of a clip together.

    Raises FramePolicyError if the fields contradict each other.
    """

    count: int | None = None
    fps: float | None = None
    cap: int | None = None
    beyond_cap: Literal["spread", "cut"] = "spread"
    size: int | None = 224
    fit: Literal["crop", "squash", "keep"] = "crop"
    pixels: int | None = None
    total_pixels: int | None = None

    def __post_init__(self) -> None:
        if (self.count is None) == (self.fps is None):
            raise FramePolicyError("a frame policy takes either count or fps: give exactly one of them")
        if (self.fps is None) != (self.cap is None):
            raise FramePolicyError("cap bounds the frames that fps gives: give both or neither")
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise FramePolicyError(f"fps must be a positive number, not {self.fps}")
        bounds = (("size", self.size), ("pixels", self.pixels), ("total_pixels", self.total_pixels))
        for name, value in (("frames", self.count), ("cap", self.cap), *bounds):
            if value is not None and value < 1:
                raise FramePolicyError(f"{name} must be at least 1, not {value}")
        if self.count is not None and self.count > MOST_FRAMES:
            raise FramePolicyError(f"frames must be at most {MOST_FRAMES}, not {self.count}")
        if self.beyond_cap not in {"spread", "cut"}:
            raise FramePolicyError(f"beyond_cap must be 'spread' or 'cut', not '{self.beyond_cap}'")
        self._check_shape()

    def _check_shape(self) -> None:
        if self.fit not in {"crop", "squash", "keep"}:
            raise FramePolicyError(f"fit must be 'crop', 'squash' or 'keep', not '{self.fit}'")
        if self.fit == "keep" and self.size is not None:
            raise FramePolicyError("fit='keep' makes no square: give pixels, and no size")
        if self.fit != "keep" and (self.pixels is not None or self.total_pixels is not None):
            raise FramePolicyError(f"pixels and total_pixels go with fit='keep', not with '{self.fit}': give size")

    def for_frames(self, count: int) -> FramePolicy:
        """Return the policy for a clip of `count` frames: each has its share of `total_pixels`.

        Raises FramePolicyError if too few pixels are left for a frame.
        """
        if self.total_pixels is None:
            return self
        share = self.total_pixels // max(count, 1)
        if share < LEAST_PIXELS:
            raise FramePolicyError(
                f"total_pixels={self.total_pixels} leaves {share} pixels to each of {count} frames: take fewer frames, "
                f"or at least {LEAST_PIXELS} for each"
            )
        return replace(self, pixels=min(self.pixels or share, share), total_pixels=None)


@dataclass(frozen=True, slots=True)
class Stamps:
    """Time stamps in seconds, ascending, and the share of the clip that they cover."""

    seconds: tuple[float, ...]
    share_of_clip: float


def sample(policy: FramePolicy, start: float, end: float) -> Stamps:
    """Return time stamps of the frames that `policy` takes from `start` to `end` (seconds).

    Every stamp is inside the clip; the first and the last are within half a stride of the ends of the part
    that is seen, which is the whole clip unless `beyond_cap="cut"` shortens it. Raises FramePolicyError if
    the clip is empty, or there are implausibly many frames.
    """
    if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
        raise FramePolicyError(f"a clip runs from a start >= 0 to a later end (seconds), not {start} to {end}")
    if policy.fps is None:
        count = policy.count or 1
        if count > max(_MANY_FRAMES, (end - start) * _MOST_PER_SECOND):
            raise FramePolicyError(f"{count} frames of a clip of {end - start:g} s: no video holds as many; take fewer")
        return Stamps(_mid_points(start, end, count), 1.0)
    wanted = max(1, math.ceil((end - start) * policy.fps - _ROUNDING))
    cap = policy.cap or wanted
    if min(wanted, cap) > MOST_FRAMES:
        raise FramePolicyError(
            f"fps={policy.fps:g} gives {min(wanted, cap)} frames of {end - start:g} s; at most {MOST_FRAMES} are read: "
            "lower fps or cap"
        )
    if wanted <= cap:
        return Stamps(_centred_grid(start, end, wanted, 1 / policy.fps), 1.0)
    if policy.beyond_cap == "spread":
        return Stamps(_mid_points(start, end, cap), 1.0)
    seen = min(cap / policy.fps, end - start)
    return Stamps(_mid_points(start, start + seen, cap), seen / (end - start))


def _mid_points(start: float, end: float, count: int) -> tuple[float, ...]:
    return tuple(start + (end - start) * (i + 0.5) / count for i in range(count))


def _centred_grid(start: float, end: float, count: int, stride: float) -> tuple[float, ...]:
    margin = max(0.0, (end - start - (count - 1) * stride) / 2)
    return tuple(min(end, start + margin + i * stride) for i in range(count))
