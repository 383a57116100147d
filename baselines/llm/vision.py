"""What every engine of video language models needs: messages, thoughts, and the check that each frame arrived."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from baselines.llm.protocol import Chat, Form, LanguageModel, Shown
from encoders.frames import Frames
from tasks.errors import ModelError, RunError
from tasks.task import JsonValue

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

MILLISECONDS = 1000
"""Frame times are given as frame numbers at 1000 frames per second, so that they are exact to 1 ms."""
THOUGHT_START, THOUGHT_END = "<think>", "</think>"


class SeeingModel(LanguageModel, Protocol):
    """A language model whose chats may show frames."""

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which it takes frames, the best first."""
        ...

    @property
    def tells_times(self) -> bool:
        """Whether the model is given the times of a video's frames without words in the prompt."""
        ...


class FramesLostError(RunError):
    """Not every frame that was sent was read, so the result would be that of another setting."""


def split_thought(written: str, *, begun: bool, finished: bool) -> tuple[str, str]:
    """Split a reply into thought and answer; `begun`: the prompt or the engine's settings opened a thought.

    A truncated thought leaves no answer; no part of it is parsed.
    """
    if THOUGHT_END in written:
        thought, _, answer = written.rpartition(THOUGHT_END)
        return thought.replace(THOUGHT_START, "").strip(), answer
    opened = written.lstrip().startswith(THOUGHT_START)
    if opened or (begun and not finished):
        return written.replace(THOUGHT_START, "").strip(), ""
    return "", written


def runs_of(shown: Shown) -> Iterator[str | tuple[int, int]]:
    """Yield texts and runs of frames in order: a text, or a half-open range [first, end) of frames."""
    at, count = 0, len(shown.frames.seconds)
    for before, text in shown.between:
        if before > at:
            yield at, before
            at = before
        yield text
    if at < count:
        yield at, count


def message_parts(chat: Chat, *, text: Callable[[str], str]) -> list[dict[str, str]]:
    """Return the user's message as parts for a chat template of transformers: images or videos, and texts."""
    parts: list[dict[str, str]] = []
    for run in runs_of(chat.shown) if chat.shown else ():
        if isinstance(run, str):
            parts.append({"type": "text", "text": text(run)})
        elif chat.shown is not None and chat.shown.form == "video":
            parts.append({"type": "video"})
        else:
            parts += [{"type": "image"}] * (run[1] - run[0])
    return [*parts, {"type": "text", "text": text(chat.user)}]


def true_times(shown: Shown) -> dict[str, Any]:
    """Return the times of a video's frames as metadata for transformers and vLLM."""
    return {
        "fps": float(MILLISECONDS),
        "frames_indices": [round(second * MILLISECONDS) for second in shown.frames.seconds],
        "total_num_frames": max(1, round(shown.duration * shown.frames.share_of_clip * MILLISECONDS)),
        "duration": shown.duration * shown.frames.share_of_clip,
    }


def sent_notes(shown: Shown | None) -> dict[str, JsonValue]:
    """Return what a record keeps of the frames sent."""
    if shown is None:
        return {}
    count, height, width, _ = shown.frames.pixels.shape
    return {"sent_as": shown.form, "sent_frames": count, "sent_width": width, "sent_height": height}


PROBE_SIDE = 56
FEW, MORE = 2, 4
"""Numbers of frames in the probes; some models read videos in pairs of frames."""
TOLERANCE, LOOSE_TOKENS = 0.15, 3
"""Our choice: times in words cost a token more or less."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Prompt tokens of the same words with no frame, with `FEW` and with `MORE` frames of one size.

    For a video also with one and with three: its first frame is never pruned, so the next ones show pruning.
    """

    nothing: int
    few: int
    more: int
    one: int | None = None
    three: int | None = None

    @property
    def each(self) -> float:
        """Tokens per frame."""
        return (self.more - self.few) / (MORE - FEW)

    def expected(self, frames: int) -> float:
        """Return the expected tokens of `frames` frames."""
        return self.few - self.nothing + self.each * (frames - FEW)

    @property
    def even(self) -> bool:
        """Whether each further frame costs the same, or each further pair of frames."""
        if self.one is None or self.three is None:
            return True
        steps = (self.few - self.one, self.three - self.few, self.more - self.three)
        loose = max(LOOSE_TOKENS, TOLERANCE * max(steps))
        singly = max(steps) - min(steps) <= loose
        in_pairs = abs(steps[0]) <= loose and abs(steps[2]) <= loose
        return singly or in_pairs


def costs_by(tokens: Callable[[int], int], odd: Callable[[int], int | None] = lambda _: None) -> Costs:
    """Measure the cost of few frames; `tokens` maps a number of frames to prompt tokens, `odd` one and three."""
    return Costs(tokens(0), tokens(FEW), tokens(MORE), odd(1), odd(3))


def check_arrival(frames: int, tokens: int, costs: Costs, who: str, remedy: str) -> None:
    """Compare the tokens of a prompt with `frames` frames with what few of them cost.

    Raises FramesLostError, on one line that says what to set, if twice the frames don't cost more, if all of them cost
    less than they must, or if further frames cost a different number of tokens.
    """
    if costs.each <= 0 or costs.few <= costs.nothing:
        raise FramesLostError(
            f"{who} reads {costs.more - costs.nothing} tokens from {MORE} frames and {costs.few - costs.nothing} from "
            f"{FEW}: it does not look at each. {remedy}"
        )
    seen, expected = tokens - costs.nothing, costs.expected(frames)
    due = f"read {seen} tokens from them where {expected:.0f} were due by what few frames cost"
    slack = expected * TOLERANCE + costs.each
    if frames > MORE and seen < expected - slack:
        like = max(0, round(FEW + (seen - costs.few + costs.nothing) / costs.each))
        raise FramesLostError(f"{who} was sent {frames} frames and {due}, as of {like} frames. {remedy}")
    if not costs.even or (frames > MORE and seen > expected + slack):
        raise FramesLostError(
            f"{who} was sent {frames} frames and {due}: further frames cost a different number of tokens, as if some "
            f"of their tokens are pruned. {remedy}"
        )


def first_frames(shown: Shown, count: int) -> Shown:
    """Return the first `count` frames, repeating the last one if there are fewer."""
    frames = shown.frames
    chosen = [min(place, len(frames.seconds) - 1) for place in range(count)]
    step = shown.duration / count
    seconds = tuple(frames.seconds[place] + (n - place) * step for n, place in enumerate(chosen))
    picked = replace(frames, pixels=frames.pixels[chosen], seconds=seconds, frame_seconds=seconds)
    return Shown(picked, shown.form, shown.duration)


def probe_frames(form: Form, *, seconds: float = 1.0) -> Shown:
    """Return two small frames with a pattern."""
    rows = np.arange(PROBE_SIDE * PROBE_SIDE * 3, dtype=np.uint32).reshape(PROBE_SIDE, PROBE_SIDE, 3)
    pixels = np.stack([rows % 251, rows % 241]).astype(np.uint8)
    times = (seconds * 0.5, seconds * 1.5)
    return Shown(Frames(pixels, times, times, 1.0), form, 2 * seconds)


def pixels_key(shown: Shown) -> tuple[int, ...]:
    """Return what decides the number of tokens that frames take."""
    return (*shown.frames.pixels.shape, shown.form == "video")


def without_special(text: str, special: AbstractSet[str]) -> str:
    """Insert blanks into a text so that the model's tokenizer finds no control token in it."""
    if not special:
        return text
    pattern = "|".join(re.escape(token) for token in sorted(special, key=len, reverse=True))
    return re.sub(pattern, lambda found: f"{found.group()[:1]} {found.group()[1:]}", text)


def check_forms(wanted: Form | None, able: Sequence[Form], model: str) -> Form:
    """Choose the form of frames: as wanted, else a video if the model takes one. Raises ModelError."""
    if wanted is None:
        return able[0]
    if wanted not in able:
        raise ModelError(f"'{model}' takes no {wanted}; use send={able[0]}")
    return wanted
