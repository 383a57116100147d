"""A run's items as a page shows them: questions, answers, scores and pictures."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from baselines.captions import CaptionFile, clean_caption
from baselines.segments import clock
from evals.figures import ItemFigures
from evals.html_report.render import clipped, page_bytes
from evals.html_report.table import seconds
from evals.record import Sample
from tasks.errors import DataError
from tasks.family import Family, ItemText, Ranking
from tasks.multiple_choice import option_names
from tasks.task import Clip, Item, figure_title

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NOTE, READ, CAPTIONS_DIGEST = "captions", "captions_text", "captions_sha256"
STRETCH = re.compile(r"\[(?:(\d{1,3}):)?(\d{1,6}):(\d\d)-[\d:]{1,12}\]\s*", re.ASCII)
SHOWN = 200
LETTERS = 300


@dataclass(frozen=True, slots=True)
class CaptionLine:
    """A caption and its time; `seconds` is None if that is unknown."""

    seconds: float | None
    text: str


def captions_of(sample: Sample, clip: Clip | None, file: CaptionFile | None) -> tuple[CaptionLine, ...]:
    """Return the sample's captions in order of time, at most `SHOWN` of them."""
    noted = sample.notes.get(NOTE)
    if isinstance(noted, list):
        return tuple(line for entry in noted[:SHOWN] if (line := noted_caption(entry)) is not None)
    if file is None or clip is None:
        return read_captions(sample.notes.get(READ))
    try:
        captions = file.of(clip)
    except DataError:
        return read_captions(sample.notes.get(READ))
    return tuple(
        CaptionLine(caption.start, clipped(clean_caption(caption.text), LETTERS)) for caption in captions[:SHOWN]
    )


def read_captions(text: object) -> tuple[CaptionLine, ...]:
    """Split the captions given to a language model into lines: `[0:16-0:32] C washes a bowl`."""
    if not isinstance(text, str):
        return ()
    lines = (line for line in text.splitlines() if line.strip())
    return tuple(read_line(line) for line, _ in zip(lines, range(SHOWN), strict=False))


def read_line(line: str) -> CaptionLine:
    """Parse a line into its caption and the second that its segment begins with, if given."""
    told = STRETCH.match(line)
    if told is None:
        return CaptionLine(None, clipped(line, LETTERS))
    hours, minutes, seconds = (int(part or 0) for part in told.group(1, 2, 3))
    return CaptionLine(3600.0 * hours + 60 * minutes + seconds, clipped(line[told.end() :], LETTERS))


def noted_caption(entry: object) -> CaptionLine | None:
    """Read a caption from notes: a text, or an object with `text` and perhaps `start`."""
    if isinstance(entry, str):
        return CaptionLine(None, clipped(entry, LETTERS))
    if not isinstance(entry, dict):
        return None
    row = cast("Mapping[str, object]", entry)
    text, start = row.get("text"), row.get("start")
    if not isinstance(text, str):
        return None
    return CaptionLine(float(start) if isinstance(start, int | float) else None, clipped(text, LETTERS))


STRIP = 10
WIDTH, HEIGHT = 200, 150
QUALITY = 60


Stretches = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture and its second in the video."""

    src: str
    seconds: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A clip's pictures, or why there are none; `seen` says whether they show frames that the model saw."""

    frames: tuple[Frame, ...] = ()
    why_not: str = ""
    seen: bool = False

    @property
    def size(self) -> int:
        """Size in the page, in bytes."""
        return sum(len(frame.src) for frame in self.frames)


def strip(clip: Clip, seen: Sequence[float], count: int = STRIP, evidence: Stretches = ()) -> Strip:
    """Decode `count` of the frames that the model saw, by their times; frames of the clip if none are recorded.

    If the item has evidence segments, half of the frames are from those.
    """
    if clip.path is None:
        return Strip(why_not="the video is not on this machine")
    try:
        from encoders.decode import decode
        from encoders.sampling import FramePolicy, sample
        from encoders.video_errors import VideoError
    except ImportError:
        return Strip(why_not="the video packages are not installed")
    try:
        times = [t for t in seen if clip.start <= t <= clip.end]
        shown = times or sample(FramePolicy(count=count), clip.start, clip.end).seconds
        telling = evidence_times(evidence, clip, times, count // 2)
        rest = spread([t for t in shown if t not in telling], count - len(telling))
        chosen = sorted({*telling, *rest})
        pixels = decode(clip.path, tuple(chosen), FramePolicy(count=len(chosen), size=None)).pixels
    except VideoError as error:
        return Strip(why_not=f"the video can't be read ({error})")
    frames = tuple(frame_of(picture, at) for picture, at in zip(pixels, chosen, strict=True))
    return Strip(frames, seen=bool(times))


REEL = 8
REEL_PIXELS, REEL_QUALITY, REEL_GAP = 6_144, 40, 2
MOST_REELS, MOST_VIDEOS = 500, 160
"""Our choice: how many items of a page's list have pictures, and of how many videos, so that a page is soon made."""
READ_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Reel:
    """Small pictures of an item in order of time, side by side in one image; `telling` says which show the evidence.

    `thumb` is one of them by itself.
    """

    src: str
    seconds: tuple[float, ...]
    telling: tuple[bool, ...]
    width: int
    height: int
    thumb: Frame

    @property
    def size(self) -> int:
        """Size in the page, in bytes."""
        return len(self.src) + len(self.thumb.src) + REEL_BYTES + REEL_TIME_BYTES * len(self.seconds)


Moments = tuple[tuple[float, bool], ...]
"""Times of a video, each with whether it lies in the evidence."""


def reels(order: Iterable[str], items: Mapping[str, Item]) -> dict[str, Reel]:
    """Return the reels of the first items of an order whose video can be read.

    Their times depend on the item alone, so that the pages of several runs share them.
    """
    videos: dict[Path, dict[str, Moments]] = {}
    for key in islice((key for key in order if key in items), MOST_REELS):
        clip = items[key].clip
        if clip.path is None or not (clip.path in videos or (len(videos) < MOST_VIDEOS and clip.path.is_file())):
            continue
        if moments := reel_moments(clip, getattr(items[key], "evidence", ())):
            videos.setdefault(clip.path, {})[key] = moments
    made: dict[str, Reel] = {}
    for path, asked in videos.items():
        distinct = sorted(set(asked.values()))
        for place in range(0, len(distinct), READ_AT_ONCE):
            part = tuple(distinct[place : place + READ_AT_ONCE])
            of = dict(zip(part, read_reels(path, part), strict=True))
            made |= {key: reel for key, moments in asked.items() if (reel := of.get(moments)) is not None}
    return made


def reel_moments(clip: Clip, evidence: Stretches) -> Moments:
    """Choose `REEL` times of a clip: half of them or more from the evidence segments, if there are any, the rest even.

    Empty if the clip's length is unknown.
    """
    span = clip.end - clip.start
    if not isfinite(span) or span <= 0:
        return ()
    inside = [(max(a, clip.start), min(b, clip.end)) for a, b in evidence if a < clip.end and b > clip.start]
    most = min(max(REEL // 2, len(inside)), REEL - 2)
    each, more = divmod(most, len(inside)) if inside else (0, 0)
    counts = [each + (place < more) for place in range(len(inside))] if each else [1] * len(inside)
    telling = {
        start + (2 * n + 1) / (2 * count) * (end - start)
        for (start, end), count in zip(inside, counts, strict=True)
        for n in range(count)
    }
    chosen = set(spread(tuple(telling), most))
    rest = REEL - len(chosen)
    even = {clip.start + (2 * n + 1) / (2 * rest) * span for n in range(rest)}
    return tuple((at, any(start <= at <= end for start, end in inside)) for at in sorted(chosen | even))


@lru_cache(maxsize=1024)
def read_reels(path: Path, asked: tuple[Moments, ...]) -> tuple[Reel | None, ...]:
    """Decode the reels of a video in one pass; one by one if a time of any of them can't be read."""
    try:
        from encoders.decode import decode
        from encoders.sampling import FramePolicy
        from encoders.video_errors import VideoError
    except ImportError:
        return (None,) * len(asked)
    times = sorted({at for moments in asked for at, _ in moments})
    policy = FramePolicy(count=len(times), size=None, fit="keep", pixels=REEL_PIXELS)
    try:
        pixels = dict(zip(times, decode(path, tuple(times), policy).pixels, strict=True))
    except VideoError:
        return tuple(read_reels(path, (one,))[0] for one in asked) if len(asked) > 1 else (None,)
    return tuple(reel_of(moments, [pixels[at] for at, _ in moments]) for moments in asked)


def reel_of(moments: Moments, pictures: Sequence[NDArray[np.uint8]]) -> Reel:
    """Join pictures uint8 [H, W, 3] into one image; the first of the evidence, or the middle one, is the thumbnail."""
    import numpy as np

    telling = tuple(inside for _, inside in moments)
    first = telling.index(True) if any(telling) else len(moments) // 2
    thumb = frame_of(pictures[first], moments[first][0], (THUMB_WIDTH, THUMB_HEIGHT), THUMB_QUALITY)
    gap = ((0, 0), (0, REEL_GAP), (0, 0))
    joined = np.concatenate([np.pad(picture, gap, constant_values=128) for picture in pictures], axis=1)
    whole = frame_of(joined, moments[0][0], (joined.shape[1], joined.shape[0]), REEL_QUALITY)
    return Reel(whole.src, tuple(at for at, _ in moments), telling, whole.width, whole.height, thumb)


THUMB_WIDTH, THUMB_HEIGHT, THUMB_QUALITY = 72, 54, 40


def evidence_times(evidence: Stretches, clip: Clip, seen: Sequence[float], count: int) -> list[float]:
    """Choose `count` times in seconds within the evidence segments: frames seen, or else the segments' middles."""
    inside = [t for t in seen if any(start <= t <= end for start, end in evidence)]
    middles = [(start + end) / 2 for start, end in evidence if clip.start <= (start + end) / 2 <= clip.end]
    return spread(inside or middles, count)


def spread(times: Sequence[float], count: int) -> list[float]:
    """Choose `count` of the times, evenly spaced, in order."""
    ordered = sorted(times)
    count = min(count, len(ordered))
    if not count:
        return []
    return [ordered[(2 * i + 1) * len(ordered) // (2 * count)] for i in range(count)]


def frame_of(picture: object, seconds: float, size: tuple[int, int] = (WIDTH, HEIGHT), quality: int = QUALITY) -> Frame:
    """Encode a picture uint8 [H, W, 3] as a small JPEG."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray(picture, dtype=np.uint8))
    image.thumbnail(size)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Frame(f"data:image/jpeg;base64,{encoded}", seconds, image.width, image.height)


LINE_WIDTH = 600.0
MARKS, MARK_BYTES = 40, 12
REEL_BYTES, REEL_TIME_BYTES = 400, 40  # approximate size of a reel's markup, and of each of its times


@dataclass(frozen=True, slots=True)
class Timeline:
    """A clip as a line from 0 to `LINE_WIDTH`: evidence segments, frames seen, captions read."""

    start: str
    end: str
    evidence: tuple[tuple[float, float], ...]
    frames: tuple[float, ...]
    captions: tuple[float, ...]


def timeline(
    clip: Clip, evidence: Stretches, seen: Sequence[float], captions: Sequence[CaptionLine]
) -> Timeline | None:
    """Return the timeline of a clip; None if its length is unknown or there is nothing to show."""
    span = clip.end - clip.start
    told = [line.seconds for line in captions if line.seconds is not None]
    if not isfinite(span) or span <= 0 or not (evidence or seen or told):
        return None

    def place(second: float) -> float:
        return LINE_WIDTH * min(1.0, max(0.0, (second - clip.start) / span))

    def inside(times: Sequence[float]) -> tuple[float, ...]:
        return tuple(place(t) for t in spread([t for t in times if clip.start <= t <= clip.end], MARKS))

    stretches = tuple((place(a), max(2.0, place(b) - place(a))) for a, b in evidence[:MARKS])
    return Timeline(clock(clip.start), clock(clip.end), stretches, inside(seen), inside(told))


TEXT, OPTION, RAW, REFERENCE, NOTES = 600, 700, 1_500, 2_000, 600
RIGHT, WRONG, UNREAD, FAILED, SCORED, UNKNOWN = "right", "wrong", "unread", "failed", "scored", "not public"
OUTCOMES = (WRONG, UNREAD, RIGHT, SCORED, UNKNOWN, FAILED)
CAPTION_MARKUP = 60
# Approximate sizes in a page of an item's markup without its texts: its frame, and for each option, label (which is
# there twice), fact, timeline and stretch of evidence.
MARKUP_BYTES, OPTION_BYTES, LABEL_BYTES, FACT_BYTES, LINE_BYTES, STRETCH_BYTES = 700, 80, 50, 45, 500, 65


@dataclass(frozen=True, slots=True)
class OptionView:
    """One option of a question."""

    letter: str
    text: str
    chosen: bool
    right: bool
    score: str


@dataclass(frozen=True, slots=True)
class ItemView:
    """One item. `key` is its id as recorded; `figure` is its score."""

    key: str
    id: str
    outcome: str
    title: str
    figure: str
    options: tuple[OptionView, ...] = ()
    references: tuple[str, ...] = ()
    answer: str = ""
    raw: str = ""
    rule: str = ""
    error: str = ""
    hits: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    notes: str = ""
    captions: tuple[CaptionLine, ...] = ()
    line: Timeline | None = None
    video: str = ""
    reel: Reel | None = None

    @property
    def size(self) -> int:
        """Approximate size in the page, in bytes."""
        options = (text for option in self.options for text in (option.text, option.score))
        labels = (text for pair in self.labels.items() for text in pair)
        texts = (self.id, self.title, self.answer, self.raw, self.error, self.notes, *self.references)
        facts = (text for pair in self.facts for text in pair)
        markup = MARKUP_BYTES + OPTION_BYTES * len(self.options)
        markup += LABEL_BYTES * len(self.labels) + FACT_BYTES * len(self.facts)
        if self.line is not None:
            marks = len(self.line.frames) + len(self.line.captions)
            markup += LINE_BYTES + STRETCH_BYTES * len(self.line.evidence) + MARK_BYTES * marks
        return markup + page_bytes(*texts, *options, *facts) + 2 * page_bytes(*labels)


def item_view(
    sample: Sample,
    item: Item | None,
    figures: ItemFigures | None,
    labels: Mapping[str, str],
    rankings: Mapping[str, Ranking],
    family: Family,
    captions: CaptionFile | None = None,
    *,
    media: bool = False,
) -> ItemView:
    """Collect what is known of an item; `item` is None if the benchmark's files are missing.

    With `media`, the view links to its video file, starting at the evidence.
    """
    told = ItemText() if item is None else family.show(item)
    value = figures.values.get(sample.id) if figures else None
    outcome = outcome_of(sample, figures, value)
    chosen = sample.answer if isinstance(sample.answer, int) else None
    options = option_views(sample, told, chosen)
    given = chosen is None or not options
    read = captions_of(sample, None if item is None else item.clip, captions)
    seen = sample.frames.seconds if sample.frames else ()
    # Captions are not shown a second time as notes.
    rest = {key: note for key, note in sample.notes.items() if not (read and key in {NOTE, READ})}
    ranks = ranks_of(sample.id, rankings)
    figure = ", ".join(f"{figure_title(name)}: rank {rank:,}" for name, rank in ranks.items())
    if not figure and value is not None and figures is not None and outcome == SCORED:
        figure = f"{figure_title(figures.name)} {family.unit(figures.name).text(value)}"
    return ItemView(
        key=sample.id,
        id=clipped(sample.id, OPTION),
        outcome=outcome,
        title=clipped(told.title, TEXT),
        figure=figure,
        options=options,
        references=tuple(clipped(text, REFERENCE) for text in told.references),
        answer=clipped(sample.answer, REFERENCE) if given and sample.answer is not None else "",
        raw=clipped(sample.raw, RAW) if sample.raw and sample.raw != str(sample.answer) else "",
        rule=clipped(sample.rule, OPTION),
        error=clipped(f"{sample.error.kind}: {sample.error.message}", RAW) if sample.error else "",
        hits=next((ranking.first.get(sample.id, ()) for ranking in rankings.values()), ()),
        labels={clipped(kind, 60): clipped(label, 60) for kind, label in list(labels.items())[:8]},
        facts=facts_of(sample, item),
        notes=clipped(json.dumps(rest, ensure_ascii=False), NOTES) if rest else "",
        captions=read,
        line=None if item is None else timeline(item.clip, getattr(item, "evidence", ()), seen, read),
        video=video_address(item) if media and item is not None else "",
    )


def video_address(item: Item) -> str:
    """Return the address of the item's video on this machine, starting at the evidence or the clip."""
    if item.clip.path is None:
        return ""
    start = min((a for a, _ in getattr(item, "evidence", ())), default=item.clip.start)
    return f"{item.clip.path.resolve().as_uri()}#t={start:.1f}"


def outcome_of(sample: Sample, figures: ItemFigures | None, value: float | None) -> str:
    """Return an item's outcome, one of `OUTCOMES`."""
    if sample.error is not None:
        return FAILED
    if sample.scores.get("unparsed"):
        return UNREAD
    if figures is None or value is None:
        return UNKNOWN
    if figures.right_or_wrong:
        return RIGHT if value else WRONG
    return SCORED


@dataclass(frozen=True, slots=True)
class Standing:
    """How an item came out; `worth` sorts: the lower, the worse."""

    key: str
    outcome: str
    worth: float


def standing_of(
    sample: Sample,
    item: Item | None,
    figures: ItemFigures | None,
    rankings: Mapping[str, Ranking],
    family: Family,
) -> Standing:
    """An item's place among the others, for which no view of it has to be made."""
    told = ItemText() if item is None else family.show(item)
    value = figures.values.get(sample.id) if figures else None
    worth = worth_of(sample, told, value, ranks_of(sample.id, rankings))
    return Standing(sample.id, outcome_of(sample, figures, value), worth)


def ranks_of(key: str, rankings: Mapping[str, Ranking]) -> dict[str, int]:
    """An item's rank in each ranking that has it."""
    return {name: ranking.rank[key] for name, ranking in rankings.items() if key in ranking.rank}


def worth_of(sample: Sample, told: ItemText, value: float | None, ranks: Mapping[str, int]) -> float:
    """Return an item's sort key (our choice): a rank, a score, or the margin of the right option.

    If options have scores, the margin separates a near miss from a blunder. Failed items and items of unknown score
    get 0; they are listed separately.
    """
    if ranks:
        return -float(next(iter(ranks.values())))
    scores = sample.option_scores
    if told.answer is not None and 1 < len(scores) == len(told.options):
        return scores[told.answer] - max(s for place, s in enumerate(scores) if place != told.answer)
    return value if value is not None else 0.0


def option_views(sample: Sample, told: ItemText, chosen: int | None) -> tuple[OptionView, ...]:
    """Return the options with the model's scores, marking the chosen and the right one."""
    scores = sample.option_scores if len(sample.option_scores) == len(told.options) else None
    return tuple(
        OptionView(
            letter=letter,
            text=clipped(text, OPTION),
            chosen=place == chosen,
            right=place == told.answer,
            score="" if scores is None else f"{scores[place]:.2f}".replace("-", "−"),
        )
        for place, (letter, text) in enumerate(zip(option_names(len(told.options)), told.options, strict=True))
    )


def facts_of(sample: Sample, item: Item | None) -> tuple[tuple[str, str], ...]:
    """List short facts on the clip and the cost."""
    facts = []
    if item is not None:
        clip = item.clip
        name = "" if clip.video_id in {sample.id, sample.cluster} else f"{clipped(clip.video_id, 80)}, "
        end = f"{clip.end:.0f} s" if isfinite(clip.end) else "end"
        facts.append(("clip", f"{name}{clip.start:.0f}–{end}"))
    if sample.cluster != sample.id:
        facts.append(("source video", clipped(sample.cluster, 80)))
    if sample.frames is not None:
        share = sample.frames.share_of_clip
        facts.append(
            ("frames", f"{sample.frames.count}{'' if share is None else f', {100 * share:.0f} % of the clip'}")
        )
    if sample.tokens.prompt or sample.tokens.completion:
        facts.append(("tokens", f"{sample.tokens.prompt:,} read, {sample.tokens.completion:,} written"))
    total = sample.seconds.get("total")
    if total is not None:
        facts.append(("time", seconds(total)))
    if sample.prompt_sha256:
        facts.append(("prompt", sample.prompt_sha256[:12]))
    return tuple(facts)


def worst_and_best(ordered: Sequence[Standing], count: int) -> tuple[list[str], list[str]]:
    """Return the ids of the `count` worst and best items, the extremes first; without failed and unscored ones."""
    judged = [one for one in ordered if one.outcome not in {FAILED, UNKNOWN}]
    half = len(judged) // 2
    worst = [one.key for one in judged[: min(count, half)] if one.outcome != RIGHT]
    best = [one.key for one in judged[::-1][: min(count, half)] if one.outcome not in {WRONG, UNREAD}]
    return worst, best


# Bytes for items as text, for captions, large pictures and reels: with everything else a page stays under 5 MB.
ITEM_BUDGET, CAPTION_BUDGET, PICTURE_BUDGET, REEL_BUDGET = 2_400_000, 500_000, 1_150_000, 350_000
HIT_FRAMES = 2


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved item: its text, whether it is the right one, and pictures."""

    id: str
    text: str
    right: bool
    strip: Strip


@dataclass(frozen=True, slots=True)
class Card:
    """An item with its captions, its pictures and its retrieved items."""

    view: ItemView
    captions: tuple[CaptionLine, ...]
    strip: Strip
    hits: tuple[Hit, ...]


@dataclass(slots=True)
class Budget:
    """Bytes left for captions, large pictures and reels."""

    captions: int = CAPTION_BUDGET
    pictures: int = PICTURE_BUDGET
    reels: int = REEL_BUDGET

    def admit_captions(self, lines: tuple[CaptionLine, ...]) -> tuple[CaptionLine, ...]:
        """Return the captions, or none if they would exceed the budget."""
        size = sum(page_bytes(line.text) + CAPTION_MARKUP for line in lines)
        if size > self.captions:
            return ()
        self.captions -= size
        return lines

    def admit_reel(self, made: Reel | None) -> Reel | None:
        """Return the reel, or None if it would exceed the budget."""
        if made is None or made.size > self.reels:
            return None
        self.reels -= made.size
        return made

    def admit_strip(self, made: Strip) -> Strip:
        """Return the pictures, or an empty strip with the reason if they would exceed the budget."""
        if made.size > self.pictures:
            return Strip(why_not="left out to keep the page small")
        self.pictures -= made.size
        return made


def make_cards(
    views: Sequence[ItemView],
    items: Mapping[str, Item],
    samples: Mapping[str, Sample],
    budget: Budget,
    family: Family,
) -> Iterator[Card]:
    """Make cards of the views, in order, until the budget is spent."""
    for view in views:
        sample, item = samples[view.key], items.get(view.key)
        seen = sample.frames.seconds if sample.frames else ()
        evidence = getattr(item, "evidence", ())
        pictures = Strip() if item is None else budget.admit_strip(strip(item.clip, seen, evidence=evidence))
        lines = budget.admit_captions(view.captions)
        hits = tuple(make_hit(key, view.key, items, budget, family) for key in view.hits)
        yield Card(view, lines, pictures, hits)


def make_hit(key: str, asked: str, items: Mapping[str, Item], budget: Budget, family: Family) -> Hit:
    """Make a retrieved item's view with two pictures, because the middle frame alone may be a cut-away."""
    item = items.get(key)
    told = ItemText() if item is None else family.show(item)
    text = told.title or next(iter(told.references), "")
    picture = Strip() if item is None else budget.admit_strip(strip(item.clip, (), count=HIT_FRAMES))
    return Hit(clipped(key, REFERENCE), clipped(text, REFERENCE), key == asked, picture)


def with_captions(views: Sequence[ItemView], budget: Budget) -> list[ItemView]:
    """Add captions to views within the budget, starting from both ends of their order."""
    made = list(views)
    for place in from_both_ends(range(len(made))):
        made[place] = replace(made[place], captions=budget.admit_captions(made[place].captions))
    return made


class HasSize(Protocol):
    """Something that takes room in a page."""

    @property
    def size(self) -> int:
        """About how many bytes."""


EachT = TypeVar("EachT")
ViewT = TypeVar("ViewT", bound=HasSize)


def from_both_ends(order: Sequence[EachT]) -> Iterator[EachT]:
    """The first, the last, the second, the last but one, and so on to the middle."""
    for step in range(len(order)):
        yield order[step // 2 if step % 2 == 0 else len(order) - 1 - step // 2]


def admitted_reels(
    order: Sequence[str], kept: Mapping[str, HasSize], items: Mapping[str, Item], budget: Budget
) -> dict[str, Reel]:
    """Return reels of the kept items, the first of the order first, as many as fit.

    They come last: theirs is also what captions, large pictures and the items' texts have left.
    """
    texts = sum(view.size for view in kept.values())
    budget.reels += budget.captions + budget.pictures + max(0, ITEM_BUDGET - texts)
    budget.captions = budget.pictures = 0
    found = reels(order, items)
    return {key: reel for key in order if (reel := budget.admit_reel(found.get(key))) is not None}


def within_budget(keys: Iterable[str], view_of: Callable[[str], ViewT], budget: int = ITEM_BUDGET) -> dict[str, ViewT]:
    """The views that fit into a page, of the first `keys`; no view of the others is made but for the first of them."""
    kept: dict[str, ViewT] = {}
    for key in keys:
        view = view_of(key)
        budget -= view.size
        if budget < 0:
            break
        kept[key] = view
    return kept
