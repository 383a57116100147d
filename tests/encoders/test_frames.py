"""Frames are those on screen at the time stamps, whatever the file's coding and clock."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encoders import decode
from encoders.frames import read_frames, read_together
from encoders.sampling import FramePolicy
from encoders.video_errors import MissingVideoError, OutsideVideoError, TruncatedVideoError
from encoders.video_file import OpenVideo, probe
from tasks.task import Clip, FramesSeen
from tests.encoders.videos import (
    MATRICES,
    NATURAL,
    ODD_BUT_WHOLE,
    clip,
    ffmpeg_frame,
    level,
    plain_read,
    psnr,
    with_matrix,
    write_video,
)

NEEDS_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
SMALL = FramePolicy(count=1, size=48, fit="squash")
TWO_THREADS = ("bbb_5s.mp4", "vfr_vp8_45s.webm", "hevc10_hdr_13s.mp4")
LARGE = ("epic_wall_h264_720p60_10s.mp4", "epic_wall_vp9_720p60_10s.webm")
CHEAP_TO_READ = [name for name in (*NATURAL, *ODD_BUT_WHOLE) if "epic" not in name]


def find(shared_data: Path, name: str) -> Path:
    folder = "natural" if name in NATURAL else "broken"
    return shared_data / "videos" / folder / name


def grey(seconds: list[float], path: Path, stamps: list[float]) -> list[int]:
    """Which of the frames written by `write_video` are shown just around each stamp."""
    found = []
    for stamp in stamps:
        one = FramePolicy(count=1, size=None)
        pixels = read_frames(clip(path, max(0, stamp - 1e-3), stamp + 1e-3), one).pixels
        found.append(min(range(len(seconds)), key=lambda i: abs(int(pixels.mean()) - level(i))))
    return found


@pytest.mark.parametrize(
    ("name", "threads"),
    [
        *((name, 1) for name in CHEAP_TO_READ),
        *(
            (name, 2) if name in TWO_THREADS else pytest.param(name, 2, marks=pytest.mark.slow)
            for name in CHEAP_TO_READ
        ),
    ],
)
def test_sampled_frames_equal_those_of_a_plain_sequential_read(shared_data: Path, name: str, threads: int) -> None:
    path = find(shared_data, name)
    plain = plain_read(path, until=12)
    policy = FramePolicy(count=24, size=48, fit="squash")
    frames = read_frames(clip(path, 0, min(12, probe(path).duration)), policy, threads=threads)
    at = [plain.shown_at(second) for second in frames.seconds]
    assert frames.frame_seconds == pytest.approx([plain.seconds[i] for i in at], abs=2e-6)
    assert np.array_equal(frames.pixels, plain.pixels[at])


@pytest.fixture
def each_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is sought by itself, where the container lets it be, as in a video that is long enough."""
    monkeypatch.setattr(decode, "_stretches", lambda _video, ticks: [slice(i, i + 1) for i in range(len(ticks))])


@pytest.mark.usefixtures("each_sought")
@pytest.mark.parametrize("name", CHEAP_TO_READ)
def test_frames_that_are_sought_one_by_one_equal_those_of_a_plain_read(shared_data: Path, name: str) -> None:
    path = find(shared_data, name)
    plain = plain_read(path, until=12)
    frames = read_frames(clip(path, 0, min(12, probe(path).duration)), FramePolicy(count=7, size=48, fit="squash"))
    at = [plain.shown_at(second) for second in frames.seconds]
    assert frames.frame_seconds == pytest.approx([plain.seconds[i] for i in at], abs=2e-6)
    assert np.array_equal(frames.pixels, plain.pixels[at])


@pytest.mark.parametrize(("seek", "is_sought"), [(10.0, True), (1e6, False)])
def test_a_gap_is_sought_over_where_that_costs_less_than_reading_on(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, seek: float, is_sought: bool
) -> None:
    """By a clock on which a packet takes a second, and a seek as long as is said."""
    path, policy = find(shared_data, "person_139s_10fps.mp4"), FramePolicy(count=3, size=48, fit="squash")
    straight, now, read = decode.packets, 0.0, 0

    def counted(video: OpenVideo, seek_to: int | None) -> Iterator[Packet[VideoStream]]:
        nonlocal now, read
        now += seek if seek_to is not None else 0.0
        for packet in straight(video, seek_to):
            now, read = now + 1, read + 1
            yield packet

    plain = read_frames(clip(path, 0, 138), policy)
    monkeypatch.setattr(decode, "packets", counted)
    monkeypatch.setattr(decode, "perf_counter", lambda: now)
    monkeypatch.setattr(decode, "_WORTH_MEASURING", 500)
    monkeypatch.setattr(decode, "_MEASURED", 50)
    frames = read_frames(clip(path, 0, 138), policy)
    assert np.array_equal(frames.pixels, plain.pixels)
    assert frames.frame_seconds == plain.frame_seconds
    # Three frames of a film of 1,390: reading on passes over nearly all packets twice.
    assert (read < 1_500) is is_sought


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_stretch_of_a_file_gives_the_frames_of_a_plain_read(shared_data: Path, data: st.DataObject) -> None:
    names = ["bikes_10s.mp4", "vfr_vp8_45s.webm", "bbb_5s.mp4", "nasa_13s.mp4"]
    path = find(shared_data, data.draw(st.sampled_from(names)))
    plain = plain_read(path)
    start = data.draw(st.floats(0, plain.seconds[-1] - 0.1))
    end = data.draw(st.floats(start + 0.05, plain.seconds[-1]))
    policy = FramePolicy(count=data.draw(st.integers(1, 12)), size=48, fit="squash")
    frames = read_frames(clip(path, start, end), policy)
    assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])


@NEEDS_FFMPEG
@pytest.mark.parametrize("name", [*CHEAP_TO_READ, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_frames_are_those_of_the_ffmpeg_program(shared_data: Path, name: str) -> None:
    path = find(shared_data, name)
    info = probe(path)
    frames = read_frames(clip(path, 0, info.duration), FramePolicy(count=3, size=None))
    for appears, picture in zip(frames.frame_seconds, frames.pixels, strict=True):
        theirs = ffmpeg_frame(path, max(0.0, appears - 0.001), info.width, info.height)
        assert psnr(picture, theirs) > 38


@pytest.mark.slow
def test_one_scene_in_h264_and_vp9_gives_nearly_the_same_pixels(shared_data: Path) -> None:
    policy = FramePolicy(count=8)
    one, other = (read_frames(clip(find(shared_data, name), 0, 9.9), policy, threads=2).pixels for name in LARGE)
    assert min(psnr(a, b) for a, b in zip(one, other, strict=True)) > 33


@pytest.mark.parametrize(("name", "width", "height"), [("rot0", 568, 320), ("rot90", 320, 568), ("rot180", 568, 320)])
def test_rotated_files_come_out_upright(shared_data: Path, name: str, width: int, height: int) -> None:
    path = find(shared_data, f"{name}.mov")
    info = probe(path)
    pixels = read_frames(clip(path, 0, info.duration), FramePolicy(count=1, size=None)).pixels
    assert (info.width, info.height) == (width, height)
    assert pixels.shape == (1, height, width, 3)


@NEEDS_FFMPEG
@pytest.mark.parametrize("name", MATRICES)
def test_turned_and_mirrored_pictures_are_shown_as_the_ffmpeg_program_shows_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / "turned.mp4"
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=96x64:rate=5:duration=1"]
    subprocess.run([*source, "-pix_fmt", "yuv420p", str(path)], check=True)
    with_matrix(path, MATRICES[name])
    info = probe(path)
    (picture,) = read_frames(clip(path, 0, 0.2), FramePolicy(count=1, size=None)).pixels
    assert picture.shape == (info.height, info.width, 3)
    assert psnr(picture, ffmpeg_frame(path, 0, info.width, info.height)) > 38


def test_crop_keeps_the_centre_of_the_scaled_picture(shared_data: Path) -> None:
    path = find(shared_data, "bikes_10s.mp4")
    whole = read_frames(clip(path, 0, 10), FramePolicy(count=1, size=None)).pixels[0]
    crop = read_frames(clip(path, 0, 10), FramePolicy(count=1, size=272)).pixels[0]
    assert np.array_equal(crop, whole[:, (640 - 272) // 2 : (640 + 272) // 2])


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("name", ["drummer_36s_portrait.mp4", "odd_321x241_vp9.mp4", "rot90.mov"])
def test_every_shape_of_video_comes_out_square(shared_data: Path, name: str, fit: str) -> None:
    path = find(shared_data, name)
    policy = FramePolicy(count=2, size=224, fit=fit)
    assert read_frames(clip(path, 0, probe(path).duration), policy).pixels.shape == (2, 224, 224, 3)


@pytest.mark.parametrize("name", ["drummer_36s_portrait.mp4", "odd_321x241_vp9.mp4", "rot90.mov", "bikes_10s.mp4"])
@pytest.mark.parametrize("pixels", [40_000, 5_000, 10**9])
def test_keep_shows_the_whole_picture_within_its_pixels_and_never_enlarges(
    shared_data: Path, name: str, pixels: int
) -> None:
    path = find(shared_data, name)
    info = probe(path)
    policy = FramePolicy(count=2, size=None, fit="keep", pixels=pixels)
    _, height, width, _ = read_frames(clip(path, 0, info.duration), policy).pixels.shape
    assert width * height <= pixels
    assert (width, height) == (info.width, info.height) or (width + 1) * (height + 1) > pixels
    assert width / height == pytest.approx(info.width / info.height, rel=0.03)


def test_keep_gives_each_clip_of_a_file_its_share_of_all_pixels(shared_data: Path) -> None:
    path = find(shared_data, "bikes_10s.mp4")
    policy = FramePolicy(fps=1.0, cap=16, size=None, fit="keep", total_pixels=80_000)
    short, long = read_together([clip(path, 0, 2), clip(path, 0, 8)], policy)
    for frames, count in ((short, 2), (long, 8)):
        assert len(frames.pixels) == count
        assert 0.9 * 80_000 < frames.pixels[..., 0].size <= 80_000
        alone = read_frames(clip(path, 0, count), policy)
        assert np.array_equal(alone.pixels, frames.pixels)


@NEEDS_FFMPEG
@pytest.mark.parametrize(("shape", "size"), [("16/11", (128, 64)), ("1/2", (64, 88)), ("1", (128, 88))])
def test_keep_shows_pixels_that_are_not_square_as_a_player_does(
    tmp_path: Path, shape: str, size: tuple[int, int]
) -> None:
    path = tmp_path / "wide.mp4"
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=128x88:rate=5:duration=2"]
    subprocess.run([*source, "-vf", f"setsar={shape}", str(path)], check=True)
    _, height, width, _ = read_frames(clip(path, 0, 2), FramePolicy(count=1, size=None, fit="keep")).pixels.shape
    assert (width, height) == pytest.approx(size, abs=4)


def test_variable_frame_rate_shows_each_frame_until_the_next(tmp_path: Path) -> None:
    path = tmp_path / "variable.mkv"
    seconds = [0, 0.04, 0.08, 2.0, 2.5, 2.54, 6.0]
    write_video(path, seconds)
    stamps = [0.02, 0.06, 1.0, 1.99, 2.01, 2.49, 2.52, 5.9, 6.01]
    assert grey(seconds, path, stamps) == [0, 1, 2, 2, 3, 3, 4, 5, 6]
    assert probe(path).fps is None


def test_second_zero_is_where_the_file_begins_whatever_its_clock(tmp_path: Path) -> None:
    path = tmp_path / "late.ts"
    seconds = [i / 10 for i in range(30)]
    write_video(path, [1000 + s for s in seconds])
    assert probe(path).start == 0
    assert grey(seconds, path, [0.05, 1.25, 2.75]) == [0, 12, 27]


@pytest.mark.parametrize("b_frames", ["0", "2"])
def test_containers_without_time_stamps_per_packet_are_read_exactly(tmp_path: Path, b_frames: str) -> None:
    path = tmp_path / "old.avi"
    seconds = [i / 30 for i in range(60)]
    write_video(path, seconds, codec="mpeg4", options={"bf": b_frames})
    plain = plain_read(path)
    frames = read_frames(clip(path, 0, plain.seconds[-1]), FramePolicy(count=9, size=48, fit="squash"))
    assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])


@pytest.mark.parametrize(
    "options",
    [
        {"g": "250", "bf": "3"},
        {"g": "12", "bf": "3", "x264-params": "open-gop=1"},
        {"g": "30", "x264-params": "b-pyramid=strict:bframes=7"},
        {"x264-params": "intra-refresh=1:keyint=20"},
        {"x264-params": "interlaced=1:keyint=20"},
        {"bf": "0", "g": "5"},
    ],
)
@pytest.mark.parametrize("sought", [False, True], ids=["read through", "sought"])
def test_every_way_to_predict_frames_is_decoded_exactly(
    tmp_path: Path, options: dict[str, str], sought: bool, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "coded.mp4"
    if sought:
        request.getfixturevalue("each_sought")
    write_video(path, [i / 25 for i in range(200)], options=options)
    plain = plain_read(path)
    for start in (0.0, 6.1):
        frames = read_frames(clip(path, start, 7.9), FramePolicy(count=7, size=48, fit="squash"), threads=2)
        assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])


def test_the_share_of_a_clip_that_was_cut_off_is_known(shared_data: Path) -> None:
    policy = FramePolicy(fps=1, cap=32, beyond_cap="cut", size=48)
    frames = read_frames(clip(find(shared_data, "person_139s_10fps.mp4"), 0, 128), policy)
    assert frames.seen == FramesSeen(32, tuple(i + 0.5 for i in range(32)), 0.25)


def test_times_after_the_end_are_refused_by_name(shared_data: Path) -> None:
    path = find(shared_data, "bikes_10s.mp4")
    with pytest.raises(OutsideVideoError, match=r"bikes_10s\.mp4: the video ends at 10\.00 s"):
        read_frames(clip(path, 5, 15), FramePolicy(count=8))


def test_the_last_frame_is_held_for_annotations_on_rounded_seconds(shared_data: Path) -> None:
    path = find(shared_data, "bikes_10s.mp4")
    late, last = (read_frames(clip(path, a, b), SMALL) for a, b in ((10.4, 10.8), (9.97, 9.99)))
    assert np.array_equal(late.pixels, last.pixels)


def test_a_file_that_breaks_off_gives_what_it_has_and_refuses_the_rest(shared_data: Path, tmp_path: Path) -> None:
    whole = find(shared_data, "person_139s_10fps.mp4")
    path = tmp_path / "half.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", "-movflags", "faststart", str(path)],
        check=True,
    ) if shutil.which("ffmpeg") else pytest.skip("needs the ffmpeg program")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    plain = plain_read(whole)
    frames = read_frames(clip(path, 0, 40), FramePolicy(count=5, size=48, fit="squash"))
    assert np.array_equal(frames.pixels, plain.pixels[[plain.shown_at(s) for s in frames.seconds]])
    with pytest.raises(TruncatedVideoError, match=r"half\.mp4: breaks off at"):
        read_frames(clip(path, 0, 139), FramePolicy(count=5))


def test_a_clip_without_a_file_names_its_video() -> None:
    with pytest.raises(MissingVideoError, match="abc"):
        read_frames(Clip("abc", 0, 1), FramePolicy(count=1))


def test_reading_frames_needs_no_torch(shared_data: Path) -> None:
    code = "import sys, encoders.frames, encoders.decode_ahead; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
