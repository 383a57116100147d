"""The aggregator reads what is said, beside captions or instead; a file that is missing is an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.aggregator import aggregator_on
from baselines.captions import load_captions
from baselines.models import AggregatorOptions
from baselines.prompted import PromptedModel
from tasks.errors import DataError, ModelError
from tasks.model import OptionRequest
from tasks.task import Clip
from tests.baselines.conftest import CountingModel

SRT = "1\n00:00:01,000 --> 00:00:03,000\nput it down\n\n2\n00:00:20,000 --> 00:00:22,000\nthank you all\n"


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    (tmp_path / "v.srt").write_text(SRT)
    return Clip("v", 0.0, 32.0, None, tmp_path / "v.srt")


def model(folder: Path, *, captions: bool, context: int = 100_000, **options: str) -> PromptedModel:
    path = folder / "captions.json"
    path.write_text(json.dumps({"v": ["a man lifts a box", "a man bows"]}))
    given = AggregatorOptions(captions=path if captions else None, llm="smollm2", **options)  # type: ignore[arg-type]
    return aggregator_on(CountingModel(context=context), load_captions(path) if captions else None, given)


def material(prompted: PromptedModel, clip: Clip) -> tuple[str, dict[str, object]]:
    (composed,) = prompted.compose_options([OptionRequest("q", clip, "Why?", "", (" a", " b"), "Why?")])
    return composed.chat.user, dict(composed.notes)


def test_what_is_said_stands_beside_the_captions_in_order_of_time(tmp_path: Path, clip: Clip) -> None:
    text, notes = material(model(tmp_path, captions=True, subtitles="all"), clip)
    places = [text.index(part) for part in ("lifts a box", "put it down", "a man bows", "thank you all")]
    assert sorted(places[:2]) + sorted(places[2:]) == sorted(places)
    assert notes["subtitle_words"] == 6
    assert notes["subtitle_share"] == 1.0


def test_what_is_said_stands_instead_of_captions_where_there_are_none(tmp_path: Path, clip: Clip) -> None:
    text, _ = material(model(tmp_path, captions=False, subtitles="all"), clip)
    assert 'said: "put it down"' in text
    assert "lifts a box" not in text


@pytest.mark.parametrize("options", [{}, {"subtitles": "none"}])
def test_nothing_that_is_said_is_read_unless_it_is_asked_for(
    tmp_path: Path, clip: Clip, options: dict[str, str]
) -> None:
    prompted = model(tmp_path, captions=True, **options)
    text, notes = material(prompted, clip)
    assert "said" not in text
    assert "subtitle_share" not in notes
    assert not prompted.reads_subtitles


def test_the_share_that_was_read_is_in_the_record_where_not_all_fits(tmp_path: Path, clip: Clip) -> None:
    _, notes = material(model(tmp_path, captions=True, context=35, subtitles="all"), clip)
    share = notes["subtitle_share"]
    assert isinstance(share, float)
    assert share < 1


def test_a_wrong_path_is_an_error_and_no_video_without_words(tmp_path: Path) -> None:
    clip = Clip("v", 0.0, 32.0, None, tmp_path / "w.srt")
    with pytest.raises(DataError, match=r"w\.srt are missing"):
        material(model(tmp_path, captions=True, subtitles="all"), clip)


def test_a_video_of_unknown_length_is_cut_as_far_as_its_words_go(tmp_path: Path, clip: Clip) -> None:
    endless = Clip("v", 0.0, float("inf"), None, clip.subtitles)
    _, notes = material(model(tmp_path, captions=False, subtitles="all"), endless)
    assert notes["segments"] == 2


def test_without_captions_and_subtitles_there_is_nothing_to_read() -> None:
    with pytest.raises(ModelError, match="give captions=FILE"):
        AggregatorOptions(llm="smollm2")
