import io
import json
import tarfile
from itertools import islice

import numpy as np
import pytest

from encoders.pretrain.data import Sample
from encoders.pretrain.files import FileSource, read_folder, read_manifest, read_shards
from encoders.pretrain.settings import FileSettings
from encoders.pretrain.step import BadSample, Request
from encoders.video_file import probe
from tasks.errors import DataError
from tests.encoders.videos import level, write_video

SEGMENTS = [{"start": 0.0, "end": 2.0, "caption": "cut it"}, {"start": 2.0, "end": 6.0, "caption": "fry it"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two whole videos of 8 and 12 s whose frames are a second long, and one that is no video."""
    path = tmp_path_factory.mktemp("videos")
    write_video(path / "a.mp4", [float(i) for i in range(9)])
    write_video(path / "b.mp4", [float(i) for i in range(13)])
    (path / "broken.mp4").write_bytes(b"not a video")
    for name in ("a", "b", "broken"):
        (path / f"{name}.txt").write_text(f"video {name}\nthe same, {name}\n", encoding="utf-8")
    return path


def source_of(entries, view="video", frames=4, fps=1.0, **options):
    settings = FileSettings(path="videos", decoders=1, **options)
    return FileSource(entries, settings, view, frames=frames, fps=fps, size=32)


def loaded(source, *requests):
    return list(source.load(requests))


def levels(sample):
    """Which frames of `write_video` a sample holds, by their grey."""
    known = np.array([level(i) for i in range(13)])
    return [int(np.abs(known - frame.mean()).argmin()) for frame in sample.pixels]


def test_a_folder_gives_each_video_with_its_captions(folder):
    samples = loaded(source_of(read_folder(folder, "video")), Request(0, 1), Request(1, 2))
    assert [sample.key for sample in samples] == ["a.mp4", "b.mp4"]
    assert [view.text for view in samples[0].captions] == ["video a", "the same, a"]
    assert levels(samples[0]) == [1, 3, 5, 7]
    assert samples[1].pixels.shape == (4, 32, 32, 3)


def test_an_unreadable_video_keeps_its_place_and_is_named(folder):
    source = source_of(read_folder(folder, "video"))
    found = loaded(source, Request(2, 0), Request(0, 0), Request(2, 1), Request(2, 2), Request(1, 0))
    assert [type(sample) for sample in found] == [BadSample, Sample, BadSample, BadSample, Sample]
    assert found[0].key == "broken.mp4"
    assert "not a readable media file" in found[0].error


def test_a_source_of_nothing_but_unreadable_videos_still_answers(folder):
    source = source_of([entry for entry in read_folder(folder, "video") if entry.key == "broken.mp4"])
    endless = source.load(Request(0, draw) for draw in iter(int, 1))
    assert all(isinstance(sample, BadSample) for sample in islice(endless, 5))
    endless.close()


def test_a_clip_is_a_window_of_its_length_drawn_within_the_video(folder):
    source = source_of(read_folder(folder, "clip"), "clip", frames=4)
    requests = [Request(1, draw) for draw in range(8)]
    shown = [levels(sample) for sample in loaded(source, *requests, *requests)]
    assert all(frames == list(range(frames[0], frames[0] + 4)) for frames in shown)
    assert len({frames[0] for frames in shown}) > 2
    assert shown[:8] == shown[8:]


def test_a_centred_clip_is_the_middle(folder):
    settings = FileSettings(path="videos", decoders=1)
    source = FileSource(read_folder(folder, "clip"), settings, "clip", frames=4, fps=1.0, size=32, centred=True)
    assert levels(loaded(source, Request(0, 5))[0]) == [2, 3, 4, 5]


def test_an_image_is_one_frame(folder):
    source = source_of(read_folder(folder, "image"), "image", frames=1)
    samples = loaded(source, *(Request(1, draw) for draw in range(8)))
    shown = {tuple(levels(sample)) for sample in samples}
    assert all(len(frames) == 1 for frames in shown)
    assert len(shown) > 2


def test_cut_videos_show_their_beginning(folder):
    entries = read_folder(folder, "video")
    assert levels(loaded(source_of(entries, beyond="cut"), Request(1, 0))[0]) == [0, 1, 2, 3]


def test_segments_are_samples_of_their_own_for_clips_and_one_paragraph_for_videos(folder):
    manifest = folder / "manifest.jsonl"
    row = {"video": "b.mp4", "segments": SEGMENTS, "statements": [{"text": "cut, then fried", "false": ["fried"]}]}
    manifest.write_text(json.dumps(row) + "\n", encoding="utf-8")
    clips = read_manifest(manifest, "clip")
    assert [(e.key, e.start, e.end, e.captions[0].text) for e in clips] == [
        ("b.mp4#0", 0.0, 2.0, "cut it"),
        ("b.mp4#1", 2.0, 6.0, "fry it"),
    ]
    (whole,) = read_manifest(manifest, "video")
    assert whole.captions[0].text == "cut it fry it"
    assert whole.statements[0].false == ("fried",)
    assert levels(loaded(source_of(clips, "clip", frames=4), Request(1, 0))[0]) == [2, 3, 4, 5]


def test_shards_give_the_same_pixels_as_files(folder, tmp_path):
    for tar, name in (("0.tar", "a"), ("1.tar", "b")):
        with tarfile.open(tmp_path / tar, "w") as file:
            for suffix in ("mp4", "txt"):
                file.add(folder / f"{name}.{suffix}", f"{name}.{suffix}")
    packed = source_of(read_shards(tmp_path, "video"))
    found = loaded(packed, Request(0, 0), Request(1, 0))
    expected = loaded(source_of(read_folder(folder, "video")), Request(0, 0), Request(1, 0))
    assert [sample.key for sample in found] == ["0.tar/a", "1.tar/b"]
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert ours.captions == theirs.captions


def test_a_shard_cut_short_is_a_bad_sample(folder, tmp_path):
    tar = tmp_path / "0.tar"
    with tarfile.open(tar, "w") as file:
        file.add(folder / "a.txt", "a.txt")
        file.add(folder / "a.mp4", "a.mp4")
    source = source_of(read_shards(tmp_path, "video"))
    tar.write_bytes(tar.read_bytes()[:4096])
    (found,) = loaded(source, Request(0, 0))
    assert isinstance(found, BadSample)
    assert "shorter" in found.error


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "line 2 is not valid JSON"),
        ("[]", "must be an object"),
        ('{"caption": "x"}', "'video'"),
        ('{"video": "b.mp4"}', "'caption'"),
        ('{"video": "b.mp4", "caption": [" "]}', "empty"),
        (
            '{"video": "b.mp4", "caption": "x", "statements": [{"text": "y"}]}',
            "entry 1, false' is missing",
        ),
        ('{"video": "b.mp4", "caption": "x", "statements": [{"text": "y", "false": "no"}]}', "false' must be a list"),
        ('{"video": "b.mp4", "caption": "x", "statements": [{"text": "y", "false": [1]}]}', "false, entry 1' must be"),
        ('{"video": "b.mp4", "caption": "x", "end": [1]}', "field 'end' must be a number"),
        ('{"video": "b.mp4", "caption": "x", "end": "x"}', "field 'end' must be a number"),
        ('{"video": "b.mp4", "caption": "x", "end": Infinity}', "not finite"),
        ('{"video": "b.mp4", "caption": "x", "start": true}', "field 'start' must be a number"),
        ('{"video": "b.mp4", "caption": "x", "start": 5, "end": 2}', "the end, 2 s, must be after the start, 5 s"),
        ('{"video": "b.mp4", "caption": "x", "caption": "y"}', "the key 'caption' twice"),
        ('{"video": 7, "caption": "x"}', "field 'video' must be a text"),
        ('{"video": "b.mp4", "caption": {"a": "x"}}', "field 'caption' must be a text or a list"),
        ('{"video": "b.mp4", "segments": [{"start": 3, "end": 1, "caption": "x"}]}', "segment 1: the end"),
        (
            '{"video": "b.mp4", "segments": [{"start": "0", "end": 1, "caption": "x"}]}',
            "start' must be a number",
        ),
        ('{"video": "b.mp4", "caption": ' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_line_of_a_manifest_is_named(tmp_path, line, what):
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(f'{{"video": "a.mp4", "caption": "x"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(DataError, match=what) as error:
        read_manifest(manifest, "video")
    assert str(manifest) in str(error.value)
    assert "line 2" in str(error.value)


def test_marks_separators_and_half_characters_in_a_manifest_are_read(tmp_path):
    manifest = tmp_path / "m.JSONL"
    lines = ['{"video": "a.mp4", "caption": "x\u2028y\x85z"}', '{"video": "a.mp4", "caption": "half \\ud83d"}']
    manifest.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    assert [entry.captions[0].text for entry in read_manifest(manifest, "video")] == ["x\u2028y\x85z", "half \ufffd"]


def tar_of(path, **members):
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def test_a_shards_foreign_text_is_refused_by_member(tmp_path):
    shard = tar_of(tmp_path / "s.tar", a__mp4=b"x", a__txt=b"caf\xe9")
    with pytest.raises(DataError, match=r"s\.tar: a\.txt, line 1 is not UTF-8 \(byte 0xe9\)"):
        read_shards(shard, "video")
    shard = tar_of(tmp_path / "t.tar", a__mp4=b"x", a__json=b'{"caption": ["x", null]}')
    with pytest.raises(DataError, match=r"t\.tar: a: its \.json: field 'caption, entry 2' must be a text, not null"):
        read_shards(shard, "video")


def test_what_macos_keeps_beside_files_is_no_sample(tmp_path):
    files = {"._a.mp4": b"x", "._a.txt": b"\x00\x05\xff", "a.mp4": b"x", "a.txt": "\ufeffhi\u2028you\r\n".encode()}
    (entry,) = read_shards(tar_of(tmp_path / "s.tar", **files), "video")
    assert (entry.key, [view.text for view in entry.captions]) == ("s.tar/a", ["hi\u2028you"])
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert [entry.key for entry in read_folder(tmp_path, "video")] == ["a.mp4"]


def test_a_video_without_captions_is_named(tmp_path):
    write_video(tmp_path / "lonely.mp4", [0.0, 1.0])
    with pytest.raises(DataError, match=r"lonely\.mp4 has no captions"):
        read_folder(tmp_path, "video")


def test_real_videos_are_read_as_a_folder_of_clips(shared_data):
    natural = shared_data / "videos" / "natural"
    path = natural / "ego_kitchen_41s.mp4"
    entries = [entry for entry in _captioned(natural) if entry.video == path]
    (sample,) = loaded(source_of(entries, "clip", frames=8), Request(0, 4))
    assert sample.pixels.shape == (8, 32, 32, 3)
    assert probe(path).duration > 8


def _captioned(natural):
    from encoders.pretrain.files import entries_of

    for path in sorted(natural.glob("*.mp4")):
        yield from entries_of({"caption": path.stem}, path.name, path, "clip", str(path))
