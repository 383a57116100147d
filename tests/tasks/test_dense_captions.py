"""Dense-captioning files: sentences find their segments by a stated rule, or the reason is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.caption_files import (
    BY_ORDER,
    BY_TIME,
    Sentence,
    dense_captions,
    is_dense,
    paragraph,
    place,
    read_captions,
    score_caption_files,
)
from tasks.caption_metrics.meteor import NotRun
from tasks.errors import DataError
from tasks.task import Clip
from tasks.tokenizers import tokenizer

CLIPS = [Clip("v", 0, 10), Clip("v", 12, 20), Clip("v", 20, 31)]
PUBLISHED = [0.4904813226979022, 0.30677425014165977, 0.19068998388931385, 0.11957267144125512]
PUBLISHED += [0.39894399755365856, 0.7560812245114198]


def timed(*rows: tuple[str, float, float]) -> list[Sentence]:
    return [Sentence(text, (start, end)) for text, start, end in rows]


@given(st.permutations(range(3)), st.floats(-0.5, 0.5))
def test_time_stamps_place_sentences_in_whatever_order_they_stand(order: list[int], off: float) -> None:
    sentences = timed(*((str(i), CLIPS[i].start + off, CLIPS[i].end - off) for i in order))
    placed = place(sentences, CLIPS)
    assert (placed.texts, placed.rule) == ({0: "0", 1: "1", 2: "2"}, BY_TIME)


def test_segments_without_a_sentence_stay_empty() -> None:
    assert place(timed(("fry it", 12, 20)), CLIPS).texts == {1: "fry it"}


def test_two_segments_of_the_same_times_take_their_sentences_in_order() -> None:
    twice = [Clip("v", 0, 10), Clip("v", 0, 10)]
    assert place(timed(("cut", 0, 10), ("peel", 0, 10)), twice).texts == {0: "cut", 1: "peel"}


@given(st.permutations(range(2)))
def test_of_segments_that_hardly_differ_each_takes_the_sentence_of_its_own_times(order: list[int]) -> None:
    close = [Clip("v", 0, 10), Clip("v", 0.4, 10.4)]
    sentences = timed(*((str(i), close[i].start, close[i].end) for i in order))
    assert place(sentences, close).texts == {0: "0", 1: "1"}


def test_without_time_stamps_the_order_places_as_many_sentences_as_segments() -> None:
    placed = place([Sentence("a"), Sentence("b"), Sentence("c")], CLIPS)
    assert (placed.texts, placed.rule) == ({0: "a", 1: "b", 2: "c"}, BY_ORDER)


@pytest.mark.parametrize(
    ("sentences", "fault"),
    [
        ([Sentence("a"), Sentence("b")], "2 sentences without time stamps for 3 segments"),
        (timed(("a", 0, 10), ("b", 40, 50)), "at 40–50 s matches no segment"),
        (timed(("a", 0, 10), ("b", 0, 10)), "at 0–10 s matches no segment, or one that already has a sentence"),
        ([*timed(("a", 0, 10)), Sentence("b")], "1 of 2 sentences have no time stamp"),
        (timed(("a", 0, float("nan"))), "matches no segment"),
    ],
)
def test_a_video_with_a_sentence_that_has_no_place_is_left_out_whole(sentences: list[Sentence], fault: str) -> None:
    placed = place(sentences, CLIPS)
    assert placed.texts == {}
    assert fault in placed.fault


def test_a_paragraph_follows_the_time_stamps() -> None:
    assert paragraph(timed(("fry it", 12, 20), (" cut ", 0, 10))) == "cut fry it"
    assert paragraph([Sentence("b"), Sentence("a")]) == "b a"


@pytest.mark.parametrize(
    "rows",
    [
        *([], "text", [3], [{"text": "x"}], [{"sentence": 3}]),
        *([{"sentence": "x", "timestamp": times}] for times in ([1], [1, "x"], ["1", 2], [True, 2], [3, 2])),
    ],
)
def test_a_malformed_video_is_refused_by_name(tmp_path: Path, rows: object) -> None:
    with pytest.raises(DataError, match=r"svpc\.json: .*'v7"):
        dense_captions({"results": {"v7": rows}}, tmp_path / "svpc.json")


def test_a_plain_file_may_have_an_item_called_results() -> None:
    assert not is_dense({"results": "serve the soup"})
    assert not is_dense({"results": ["serve the soup"]})


def test_svpc_predictions_score_as_published_straight_from_their_file(shared_data: Path) -> None:
    folder = shared_data / "predictions"
    figures = score_caption_files(
        folder / "youcook2_svpc_full.json",
        folder / "youcook2_svpc_references.json",
        tokenizer("letters"),
        NotRun("not wanted here"),
    )
    found = [figures[name] for name in ("bleu_1", "bleu_2", "bleu_3", "bleu_4", "rouge_l", "cider_d")]
    assert found == pytest.approx(PUBLISHED, abs=1e-9)
    assert figures["items"] == 329


def test_a_dense_file_is_never_scored_against_another_pool(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"svpc_full\.json lacks ids that have references: .* and 118 more"):
        score_caption_files(
            shared_data / "predictions" / "youcook2_svpc_full.json",
            shared_data / "youcook2" / "val_paragraphs.json",
            tokenizer("ptb"),
            NotRun("not wanted here"),
        )


def test_a_video_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    row = json.dumps([{"sentence": "x"}])
    path.write_text(f'{{"results": {{"v": {row}, "v": {row}}}}}', encoding="utf-8")
    with pytest.raises(DataError, match="has the key 'v' twice"):
        read_captions(path)
