"""Every broken file gives right frames, or an error class of its own that names file and cause, in time."""

from __future__ import annotations

import errno
import multiprocessing
import random
import socket
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from encoders import decode as decoding
from encoders.decode_ahead import AheadPolicy, decode_ahead
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import (
    CoverArtOnlyError,
    DamagedVideoError,
    EmptyVideoError,
    MissingVideoError,
    NoStreamsError,
    NoVideoStreamError,
    ResourcesError,
    UnreadableVideoError,
    VideoError,
)
from encoders.video_file import blame_file, open_video, probe
from tasks.errors import DataError
from tests.encoders.videos import ODD_BUT_WHOLE, clip, plain_read

POLICY = FramePolicy(count=6, size=48, fit="squash")
CAUSES = {
    "attached_pic.mp3": (CoverArtOnlyError, "cover art"),
    "audio_only_92s.mp4": (NoVideoStreamError, "only audio"),
    "empty_0_bytes.webm": (EmptyVideoError, "empty"),
    "no_streams_262B.mp4": (NoStreamsError, "no streams"),
    "corrupted_midstream.mp4": (DamagedVideoError, "damaged from 2.90 s"),
}


def broken(shared_data: Path, name: str) -> Path:
    return shared_data / "videos" / "broken" / name


def test_every_broken_file_is_named_here(shared_data: Path) -> None:
    files = {path.name for path in (shared_data / "videos" / "broken").iterdir()}
    assert files == {*CAUSES, *ODD_BUT_WHOLE}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", list(CAUSES))
def test_a_broken_file_raises_an_error_of_its_own_naming_file_and_cause(
    shared_data: Path, name: str, threads: int
) -> None:
    error, cause = CAUSES[name]
    with pytest.raises(error) as raised:
        read_frames(clip(broken(shared_data, name), 0, 5), POLICY, threads=threads)
    assert type(raised.value) is error
    assert isinstance(raised.value, DataError)
    assert name in str(raised.value)
    assert cause in str(raised.value)
    assert "\n" not in str(raised.value)


def test_every_cause_has_a_class_of_its_own() -> None:
    classes = [error for error, _ in CAUSES.values()]
    assert len(set(classes)) == len(classes)


@pytest.mark.parametrize("name", ["attached_pic.mp3", "audio_only_92s.mp4", "empty_0_bytes.webm"])
def test_probing_a_file_without_video_raises_the_same_error(shared_data: Path, name: str) -> None:
    with pytest.raises(CAUSES[name][0], match=name[:5]):
        probe(broken(shared_data, name))


def test_a_missing_file_and_a_folder_are_no_videos(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.mp4", tmp_path):
        with pytest.raises(MissingVideoError, match=path.name):
            read_frames(clip(path, 0, 1), POLICY)


def test_a_text_file_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "page.mp4"
    path.write_text("<html>404 not found</html>\n" * 50)
    with pytest.raises(UnreadableVideoError, match=r"page\.mp4"):
        read_frames(clip(path, 0, 1), POLICY)


def test_frames_before_the_damage_are_right(shared_data: Path) -> None:
    path = broken(shared_data, "corrupted_midstream.mp4")
    plain = plain_read_until_damage(path)
    frames = read_frames(clip(path, 0, 2.8), FramePolicy(count=28, size=48, fit="squash"))
    assert len(plain) == 28
    assert np.array_equal(frames.pixels, plain)


def plain_read_until_damage(path: Path) -> np.ndarray:
    pictures = []
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            pictures.append(frame.reformat(48, 48, "rgb24", interpolation=Interpolation.BICUBIC).to_ndarray())
            if len(pictures) == 28:
                break
    return np.stack(pictures)


@pytest.mark.parametrize("start", [2.91, 3.0, 3.3, 4.9])
def test_no_frame_after_the_damage_is_ever_handed_on(shared_data: Path, start: float) -> None:
    path = broken(shared_data, "corrupted_midstream.mp4")
    for threads in (1, 2):
        with pytest.raises(DamagedVideoError):
            read_frames(clip(path, start, start + 0.05), FramePolicy(count=1), threads=threads)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 12))])
def test_random_damage_gives_right_frames_or_an_error(shared_data: Path, tmp_path: Path, seed: int) -> None:
    whole = broken(shared_data, "bbb_5s.mp4")
    data = bytearray(whole.read_bytes())
    generator = random.Random(seed)
    for _ in range(20):
        data[generator.randrange(len(data) // 10, len(data) * 9 // 10)] = generator.randrange(256)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    plain = plain_read(whole)
    for start in (0.0, 1.0, 2.5, 4.0):
        try:
            frames = read_frames(clip(path, start, start + 0.5), POLICY, threads=2)
        except VideoError:
            continue
        right = plain.pixels[[plain.shown_at(second) for second in frames.seconds]]
        assert np.array_equal(frames.pixels, right)


def test_frames_after_the_next_key_frame_outlive_the_damage(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "videos" / "natural" / "person_139s_10fps.mp4"
    data = bytearray(whole.read_bytes())
    at = len(data) // 2
    data[at : at + 30_000] = random.Random(0).randbytes(30_000)
    path = tmp_path / "hole.mp4"
    path.write_bytes(data)
    plain = plain_read(whole, until=84)
    survived = refused = 0
    for start in range(60, 84):
        try:
            frames = read_frames(clip(path, start, start + 0.9), FramePolicy(count=1, size=48, fit="squash"))
        except DamagedVideoError:
            refused += 1
        else:
            survived += 1
            assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(frames.seconds[0])]])
    assert refused >= 1
    assert survived >= 18


MANGLED: Mapping[str, Callable[[bytes], bytes]] = {
    "missing": lambda data: data[: len(data) // 2] + data[len(data) // 2 + len(data) // 20 :],
    "twice": lambda data: data[: len(data) // 2] + data[len(data) // 2 - len(data) // 20 :],
    "moved": lambda data: (
        data[: len(data) // 3] + data[len(data) * 2 // 3 :] + data[len(data) // 3 : len(data) * 2 // 3]
    ),
}


@pytest.fixture(scope="module", params=["x.mkv", "x.webm", "x.flv", "x.wmv"])
def remade(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real film, small, in a container where FFmpeg passes over what it can't read."""
    path = tmp_path_factory.mktemp("remade") / request.param
    codec, more = {
        ".mkv": ("libx264", {"bf": "2"}),
        ".webm": ("libvpx", {}),
        ".flv": ("libx264", {"bf": "0"}),
        ".wmv": ("wmv2", {}),
    }[path.suffix]
    with av.open(broken(shared_data, "bbb_5s.mp4")) as source, av.open(path, "w") as copy:
        stream = copy.add_stream(codec, rate=25, options={"g": "25", **more})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            small = frame.reformat(160, 96, "yuv420p")
            small.pts, small.time_base = number, Fraction(1, 25)
            copy.mux(stream.encode(small))
        copy.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("how", list(MANGLED))
def test_bytes_that_are_missing_doubled_or_moved_give_no_wrong_frame(remade: Path, tmp_path: Path, how: str) -> None:
    path = tmp_path / remade.name
    path.write_bytes(MANGLED[how](remade.read_bytes()))
    plain = plain_read(remade)
    refused = 0
    for start in (0.0, 1.2, 2.2, 3.1, 4.2):
        try:
            frames = read_frames(clip(path, start, start + 0.7), POLICY)
        except VideoError:
            refused += 1
        else:
            assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(second) for second in frames.seconds]])
    assert refused


def test_a_whole_file_breaks_nowhere(remade: Path) -> None:
    with open_video(remade) as video:
        assert video.breaks_at is None


def test_the_whole_folder_is_read_within_a_time_limit(shared_data: Path) -> None:
    paths = sorted((shared_data / "videos" / "broken").iterdir())
    clips = [clip(path, 0, 0.1) for path in paths]
    results = list(decode_ahead(clips, POLICY, AheadPolicy(timeout=60)))
    assert [result.clip for result in results] == clips
    failed = {result.clip.path.name for result in results if result.error is not None}
    assert failed == set(CAUSES) - {"corrupted_midstream.mp4"}
    assert all("longer than" not in str(result.error) for result in results)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "name",
    ["2024-01-01T10:30:00.mp4", "http:host?x.mp4", "pipe:0.mp4", "concat:a|b.mp4", "file:x.mp4", "-i.mp4", "%03d.mp4"],
)
def test_no_name_of_a_file_is_taken_for_an_address(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_bytes(broken(shared_data, "odd_321x241_vp9.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert probe(Path(name)).duration == pytest.approx(1.0)
    assert len(read_frames(clip(Path(name), 0, 1), POLICY).pixels) == 6


def test_what_a_playlist_names_is_never_fetched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        playlist = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n"
        for name in ("list.m3u8", "list.mp4"):
            path = tmp_path / name
            path.write_text(playlist)
            with pytest.raises(VideoError, match=name):
                probe(path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_tag_in_another_encoding_is_no_reason_to_refuse_a_video(shared_data: Path, tmp_path: Path) -> None:
    data = broken(shared_data, "av1_5s.mkv").read_bytes()
    assert data.count(b"Lavf") >= 1
    path = tmp_path / "latin.mkv"
    path.write_bytes(data.replace(b"Lavf", b"L\xe4v\xff"))
    assert probe(path).duration == pytest.approx(5.0)


def test_a_full_memory_is_not_called_damage(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(decoding.Canvas):
        def draw(self, *_: object) -> None:
            raise MemoryError

    monkeypatch.setattr(decoding, "Canvas", Full)
    with pytest.raises(ResourcesError, match=r"bbb_5s\.mp4: not enough memory for its frames .*may be whole"):
        read_frames(clip(broken(shared_data, "bbb_5s.mp4"), 0, 5), POLICY)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE])
def test_only_errors_about_the_file_are_held_against_it(shared_data: Path, number: int) -> None:
    path = broken(shared_data, "bbb_5s.mp4")
    with pytest.raises(ResourcesError, match="the file may be whole"):
        blame_file(path, av.error.FFmpegError(number, "out of it"))
    blame_file(path, av.error.InvalidDataError(1, "invalid data"))


def test_a_bug_of_ours_is_not_called_damage(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bug(decoding.Canvas):
        def draw(self, *_: object) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(decoding, "Canvas", Bug)
    with pytest.raises(ZeroDivisionError):
        read_frames(clip(broken(shared_data, "bbb_5s.mp4"), 0, 5), POLICY)
