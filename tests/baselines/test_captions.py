"""Caption files in both formats, and every way in which one can be broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from baselines.captions import Caption, clean_caption, load_captions
from tasks.errors import DataError
from tasks.task import Clip, TokenUsage

CLIP = Clip("v", 0.0, 180.0)


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_bare_captions_are_spread_evenly_over_the_clip(tmp_path: Path) -> None:
    captions = load_captions(write(tmp_path / "c.json", {"v": ["a", "b", "c"]})).of(CLIP)
    assert captions == (Caption(0, 60, "a"), Caption(60, 120, "b"), Caption(120, 180, "c"))


def test_the_real_lavila_captions_are_one_a_second(shared_data: Path) -> None:
    file = load_captions(shared_data / "captions" / "egoschema_lavila_1s.json")
    assert len(file.by_video) == 500
    captions = file.of(Clip(next(iter(file.by_video)), 0.0, 180.0))
    assert len(captions) == 180
    assert (captions[7].start, captions[7].end) == (7.0, 8.0)


def test_timed_captions_come_in_order_of_time(tmp_path: Path) -> None:
    rows = [
        {"video": "v", "start": 16, "end": 32, "text": "second", "captioner": "x"},
        {"video": "v", "start": 0, "end": 16, "text": "first", "captioner": "x"},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = load_captions(path)
    assert [caption.text for caption in file.of(CLIP)] == ["first", "second"]
    assert file.captioner == "x"


def test_captions_made_in_a_folder_of_videos_are_found_by_the_videos_id(tmp_path: Path) -> None:
    file = load_captions(write(tmp_path / "c.json", {"v.mp4": ["a"], "w": ["b"], "w.mp4": ["c"], "x.mp4": []}))
    assert [file.find(video) for video in ("v", "v.mp4", "w", "w.mp4", "x", "y")] == [
        *("v.mp4", "v.mp4", "w", "w.mp4"),
        *(None, None),
    ]
    assert [caption.text for caption in file.of(CLIP)] == ["a"]


@pytest.mark.parametrize("entries", [[], None])
def test_a_video_without_captions_is_an_error_that_names_it(tmp_path: Path, entries: list[str] | None) -> None:
    content: dict[str, list[str]] = {"other": ["a"]}
    if entries is not None:
        content["v"] = entries
    with pytest.raises(DataError, match=r"no captions for 'v' in .*c\.json"):
        load_captions(write(tmp_path / "c.json", content)).of(CLIP)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json does not exist"):
        load_captions(tmp_path / "nowhere.json")


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "c.json", {"v": ["a"] * 100})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"c\.json is not valid JSON .*cut off"):
        load_captions(path)


def test_a_truncated_line_is_named_by_number(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"video": "v", "start": 0, "end": 1, "text": "a"}\n{"video": "v", "sta')
    with pytest.raises(DataError, match=r"c\.jsonl, line 2"):
        load_captions(path)


@pytest.mark.parametrize("content", [[], {}, {"v": "text"}, {"v": [1, 2]}])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(DataError, match=r"c\.json"):
        load_captions(write(tmp_path / "c.json", content))


LINE: dict[str, object] = {"video": "v", "start": 0, "end": 5, "text": "a"}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"text": None}, "field 'text' must be a text, not null"),
        ({"text": ["a", "b"]}, "field 'text' must be a text"),
        ({"start": "0"}, "field 'start' must be a number"),
        ({"start": True}, "field 'start' must be a number"),
        ({"start": -5}, "field 'start' should be greater than or equal to 0"),
        ({"start": 6}, "the caption ends at 5 s, before it starts at 6 s"),
        ({"start": float("nan")}, "not finite"),
        ({"end": float("inf")}, "not finite"),
        ({"video": None}, "field 'video' must be a text or a whole number"),
        ({"captioner": None}, "field 'captioner' must be a text"),
        ({"tokens": {"prompt": 1.5}}, "field 'tokens, prompt' must be a whole number"),
        ({"text": "x" * 2_000_000}, "a text of 2,000,000 characters"),
    ],
)
def test_no_caption_is_coerced_regrouped_or_dropped(tmp_path: Path, change: dict[str, object], fault: str) -> None:
    path = tmp_path / "c.JSONL"
    path.write_text(f"{json.dumps(LINE)}\n{json.dumps(LINE | change)}\n")
    with pytest.raises(DataError, match=rf"captions file .*c\.JSONL, line 2.*{fault}"):
        load_captions(path)


def test_a_video_named_twice_in_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"v": ["a man"], "v": ["a dog"]}')
    with pytest.raises(DataError, match=r"c\.json has the key 'v' twice"):
        load_captions(tmp_path / "c.json")


def test_marks_separators_and_half_characters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    line = json.dumps(LINE | {"text": "a\u2028b\x85c"}, ensure_ascii=False)
    path.write_text(f"\ufeff{line}\r\n{json.dumps(LINE | {'text': 'd ' + chr(0xD83D)})}\r\n")
    assert [caption.text for caption in load_captions(path).of(CLIP)] == ["a\u2028b\x85c", "d \ufffd"]


def test_a_folder_and_a_zip_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_bytes(b"PK\x03\x04....")
    for path, fault in ((tmp_path, "is a folder"), (tmp_path / "c.json", "is a zip archive: unpack it")):
        with pytest.raises(DataError, match=rf"captions file .* {fault}"):
            load_captions(path)


@pytest.mark.parametrize(
    "row",
    [
        {"image_id": "v", "duration": True, "asr_text": ""},
        {"image_id": 3, "duration": 9.0, "asr_text": ""},
        {"image_id": "v", "duration": 9.0, "asr_text": None},
        {"image_id": "v", "duration": -1, "asr_text": ""},
        "v",
    ],
)
def test_a_transcript_of_another_type_is_refused_by_its_entry(tmp_path: Path, row: object) -> None:
    with pytest.raises(DataError, match=r"c\.json, entry 1 of 'annotations'"):
        load_captions(write(tmp_path / "c.json", {"annotations": [row]}))


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("#C C picks  a bowl", "C picks a bowl"),
        ("#O A man X walks.", "A man X walks"),
        ("C paints the door.", "C paints the door"),
        ("# C C sits", "C sits"),
        ("#Cooking is fun", "#Cooking is fun"),
    ],
)
def test_the_actor_tag_and_the_final_stop_are_dropped(raw: str, clean: str) -> None:
    assert clean_caption(raw) == clean


def test_clip_summaries_carry_their_own_times(shared_data: Path) -> None:
    file = load_captions(shared_data / "captions" / "egoschema_gpt4_summaries_4clips.json")
    assert len(file.by_video) == 500
    for video in file.by_video:
        captions = file.of(Clip(video, 0.0, 180.0))
        assert len(captions) == 4
        assert captions[0].start == 0.0
        assert 179.9 < captions[-1].end <= 180.0
        assert all(caption.end > caption.start and caption.text for caption in captions)
    first = file.of(Clip("39860abe-ce5a-4e57-a234-b25b0e81beec", 0.0, 180.0))
    assert [round(caption.end, 2) for caption in first] == [70.37, 89.47, 131.7, 179.97]
    assert first[1].text.startswith("In the 20-second first-person video")


@pytest.mark.parametrize(
    "broken",
    [
        {"clip_boundaries": [[0, 30]]},
        {"clip_boundaries": [[0, 30]], "action_caption_summaries": []},
        {"clip_boundaries": [[0]], "action_caption_summaries": ["a"]},
        {"clip_boundaries": [[0, 30]], "action_caption_summaries": [None]},
    ],
)
def test_a_broken_clip_summary_names_file_and_video(tmp_path: Path, broken: object) -> None:
    path = write(tmp_path / "s.json", {"v": broken})
    with pytest.raises(DataError, match=r"s\.json, 'v'"):
        load_captions(path)


def test_what_a_caption_took_is_read_where_it_is_told(tmp_path: Path) -> None:
    row = {"video": "v", "start": 0, "end": 9, "text": "a", "seconds": 1.5, "tokens": {"prompt": 7, "completion": 2}}
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (caption,) = load_captions(path).of(CLIP)
    assert (caption.seconds, caption.usage) == (1.5, TokenUsage(7, 0, 2))


def test_an_annotation_file_is_captions_without_a_fault(tmp_path: Path) -> None:
    steps = [{"segment": [3, 9], "id": 0, "sentence": "chop the onion"}]
    row = {"subset": "testing", "duration": 20.0, "recipe_type": "1", "annotations": steps}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"database": {"v": row}}))
    source = load_captions(path)
    assert source.of(Clip("v", 0.0, 20.0)) == (Caption(3.0, 9.0, "chop the onion"),)
    assert source.captioner.startswith("oracle")
