"""Caption files, plain and dense: read them, place them on a benchmark's segments, score them without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import Len
from typing_extensions import TypedDict

from tasks.caption_metrics.conventions import CaptionedItem, CaptionScores, score_captions
from tasks.caption_metrics.meteor import MeteorJar, NotRun
from tasks.errors import DataError
from tasks.files import Seconds, read_object, typed
from tasks.task import Clip, JsonValue
from tasks.tokenizers import Tokenize

TOLERANCE = 0.5
BY_TIME, BY_ORDER = "placed by time stamp", "placed by order"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence about part of a video; `times` are its start and end in seconds, if the file has them."""

    text: str
    times: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """A video's sentences by segment, or why they could not be placed; `rule` says how they were placed."""

    texts: Mapping[int, str]
    rule: str = ""
    fault: str = ""


class Row(TypedDict):
    """A sentence in the file."""

    sentence: str
    timestamp: NotRequired[Annotated[list[Seconds], Len(2, 2)] | None]


def is_dense(content: object) -> bool:
    """Whether a JSON content is a dense-captioning file: in other caption files no value is an object."""
    return isinstance(content, dict) and isinstance(content.get("results"), dict)


def dense_captions(content: Mapping[str, object], path: Path) -> dict[str, tuple[Sentence, ...]]:
    """Read the sentences of every video. Raises DataError naming the file and the video at fault."""
    results = typed(dict[str, list[Row]], content["results"], f"{path}: 'results'")
    if not results:
        msg = f"{path}: 'results' must be an object of videos to sentences, with at least one video"
        raise DataError(msg)
    return {video: sentences_of(rows, f"{path}: video '{video}'") for video, rows in results.items()}


def sentences_of(rows: Sequence[Row], where: str) -> tuple[Sentence, ...]:
    """Read one video's sentences in the file's order. Raises DataError that begins with `where`."""
    if not rows:
        msg = f"{where} needs a list of sentences"
        raise DataError(msg)
    sentences = []
    for row in rows:
        stamp = row.get("timestamp")
        times = (stamp[0], stamp[1]) if stamp else None
        if times and times[1] < times[0]:
            raise DataError(f"{where} has a sentence that ends at {times[1]:g} s, before it starts at {times[0]:g} s")
        sentences.append(Sentence(row["sentence"], times))
    return tuple(sentences)


def paragraph(sentences: Sequence[Sentence]) -> str:
    """Join a video's sentences by spaces: in order of their time stamps if all have one, else in the file's order."""
    stamps = [sentence.times for sentence in sentences if sentence.times is not None]
    if len(stamps) == len(sentences):
        sentences = [sentences[i] for i in sorted(range(len(stamps)), key=stamps.__getitem__)]
    return " ".join(sentence.text.strip() for sentence in sentences)


def place(sentences: Sequence[Sentence], clips: Sequence[Clip]) -> Placed:
    """Assign each sentence to a segment; `clips` holds one video's segments, in the task's order."""
    timed = [sentence.times is not None for sentence in sentences]
    if not any(timed):
        if len(sentences) != len(clips):
            fault = f"{len(sentences)} sentences without time stamps for {len(clips)} segments"
            return Placed({}, fault=fault)
        return Placed({i: sentence.text for i, sentence in enumerate(sentences)}, BY_ORDER)
    if not all(timed):
        return Placed({}, fault=f"{timed.count(False)} of {len(sentences)} sentences have no time stamp")
    texts: dict[int, str] = {}
    for sentence in sentences:
        start, end = sentence.times or (0.0, 0.0)
        free = [i for i, clip in enumerate(clips) if i not in texts and near(clip, start, end)]
        # Of segments that differ by less than the tolerance, the one whose times these are.
        segment = min(free, key=lambda i: abs(clips[i].start - start) + abs(clips[i].end - end), default=None)
        if segment is None:
            return Placed(
                {}, fault=f"the sentence at {start:g}–{end:g} s matches no segment, or one that already has a sentence"
            )
        texts[segment] = sentence.text
    return Placed(texts, BY_TIME)


def near(clip: Clip, start: float, end: float) -> bool:
    """Whether times match the clip's, within the tolerance."""
    return abs(clip.start - start) <= TOLERANCE and abs(clip.end - end) <= TOLERANCE


def read_captions(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a JSON object of id → text or list of texts, or of a dense-captioning file video → paragraph.

    Raises DataError, naming the file and the id, on anything else: no texts, an empty text, a
    repeated id.
    """
    content = read_object(path)
    if is_dense(content):
        return {video: (paragraph(sentences),) for video, sentences in dense_captions(content, path).items()}
    return texts_of(content, path)


def texts_of(content: Mapping[str, object], path: Path) -> dict[str, tuple[str, ...]]:
    """Read the texts of a JSON object by id. Raises DataError naming the file and the id."""
    texts = typed(dict[str, str | list[str]], content, str(path))
    if empty := [name for name, value in texts.items() if value == []]:
        raise DataError(f"{path}: id '{empty[0]}' needs a text or a list of texts")
    return {name: (value,) if isinstance(value, str) else tuple(value) for name, value in texts.items()}


def paired(hypotheses: Path, references: Path) -> list[CaptionedItem]:
    """Pair hypotheses with references, in the references' order; each item is its own cluster.

    Raises DataError, naming the file and the ids, if the two sets of ids differ, if an id has several
    hypotheses, or if a reference is empty. An empty hypothesis is allowed and scores 0.
    """
    written, wanted = read_captions(hypotheses), read_captions(references)
    _refuse(hypotheses, "lacks ids that have references", [name for name in wanted if name not in written])
    _refuse(references, "lacks ids that have a hypothesis", [name for name in written if name not in wanted])
    several = [name for name, texts in written.items() if len(texts) != 1]
    _refuse(hypotheses, "has several hypotheses (give one) for ids", several)
    empty = [name for name, texts in wanted.items() if not all(text.strip() for text in texts)]
    _refuse(references, "has an empty reference for ids", empty)
    return [CaptionedItem(name, name, written[name][0], texts) for name, texts in wanted.items()]


def _refuse(path: Path, why: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 10} more" if len(names) > 10 else ""
        msg = f"{path} {why}: {', '.join(names[:10])}{more}"
        raise DataError(msg)


def score_caption_files(
    hypotheses: Path, references: Path, tokenize: Tokenize, meteor: MeteorJar | NotRun
) -> dict[str, JsonValue]:
    """Score caption files: `bleu_1` … `bleu_4`, `rouge_l`, `cider_d`, `meteor`, and `items`.

    `meteor` is None if it was not run; `meteor_not_run` then says why. `warnings` is present if some texts count 0 or
    CIDEr-D is 0 by definition. Raises DataError as `paired` does, and for references without a token.
    """
    items = paired(hypotheses, references)
    bare = [item.id for item in items if not all(tokenize(text) for text in item.references)]
    _refuse(references, "has a reference without any token for ids", bare)
    return report(score_captions(items, "micro", tokenize, meteor))


def report(scores: CaptionScores) -> dict[str, JsonValue]:
    """The figures of `scores` as plain values, for JSON."""
    content: dict[str, JsonValue] = {**scores.values, "items": scores.corpus_items}
    if scores.meteor_not_run is not None:
        content["meteor_not_run"] = scores.meteor_not_run
    if scores.warnings:
        content["warnings"] = list(scores.warnings)
    return content
