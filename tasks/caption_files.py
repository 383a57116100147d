"""Score caption files without running anything: ids to texts in, figures by name out.

A dense-captioning file (tasks.dense_captions) stands for its videos' paragraphs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.caption_metrics.conventions import CaptionedItem, CaptionScores, score_captions
from tasks.caption_metrics.meteor import MeteorJar, NotRun
from tasks.dense_captions import dense_captions, is_dense, paragraph
from tasks.errors import DataError
from tasks.files import read_object, typed
from tasks.task import JsonValue
from tasks.tokenizers import Tokenize


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
    """The texts of a JSON object of ids. Raises DataError naming the file and the id."""
    texts = typed(dict[str, str | list[str]], content, str(path))
    if empty := [name for name, value in texts.items() if value == []]:
        raise DataError(f"{path}: id '{empty[0]}' needs a text or a list of texts")
    return {name: (value,) if isinstance(value, str) else tuple(value) for name, value in texts.items()}


def paired(hypotheses: Path, references: Path) -> list[CaptionedItem]:
    """Items in the references' order, each its own cluster.

    Raises DataError, naming the file and the ids, when the two sets of ids differ, when an id has several
    hypotheses, or when a reference is empty. An empty hypothesis is an answer, and a poor one.
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
    """Figures `bleu_1` … `bleu_4`, `rouge_l`, `cider_d`, `meteor`, and `items`.

    `meteor` is None when it was not run; `meteor_not_run` then says why. `warnings` are there where some texts count 0,
    or CIDEr-D can't be anything else. Raises DataError as `paired` does, and for references without a token.
    """
    items = paired(hypotheses, references)
    bare = [item.id for item in items if not all(tokenize(text) for text in item.references)]
    _refuse(references, "has a reference of which the tokenizer leaves nothing for ids", bare)
    return report(score_captions(items, "micro", tokenize, meteor))


def report(scores: CaptionScores) -> dict[str, JsonValue]:
    """The figures of `scores` as plain values, for JSON."""
    content: dict[str, JsonValue] = {**scores.values, "items": scores.corpus_items}
    if scores.meteor_not_run is not None:
        content["meteor_not_run"] = scores.meteor_not_run
    if scores.warnings:
        content["warnings"] = list(scores.warnings)
    return content
