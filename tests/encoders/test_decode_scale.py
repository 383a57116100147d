"""Memory and speed on long files; slow, and measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import pytest

from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import BackendError, VideoError
from encoders.video_file import probe
from lab.bench.decode import _Job, _Processes, bench_decode, evenly, make_material
from lab.bench.result import NotMeasuredError
from tests.encoders.videos import clip, plain_read

NEEDS_FFMPEG = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
PEAK_LIMIT = 600e6
READ_AND_REPORT = """
import sys
from pathlib import Path
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from tasks.task import Clip
clip = Clip("long", 0, float(sys.argv[2]), Path(sys.argv[1]))
frames = read_frames(clip, FramePolicy(count=256), threads=2)
assert frames.pixels.shape == (256, 224, 224, 3)
# Not ru_maxrss: that begins at the peak of the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024)
"""


def repeat(path: Path, times: int, out: Path) -> None:
    """A file that plays `path` so many times, its packets copied."""
    command = ["ffmpeg", "-v", "error", "-stream_loop", str(times - 1), "-i", str(path), "-an", "-c", "copy"]
    subprocess.run([*command, str(out)], check=True, timeout=300)


@pytest.mark.slow
@NEEDS_FFMPEG
def test_256_frames_of_one_hour_stay_under_600_mb(shared_data: Path, tmp_path: Path) -> None:
    hour = tmp_path / "hour.mp4"
    repeat(shared_data / "videos" / "natural" / "scrambled_eggs_70s.mp4", 52, hour)
    duration = probe(hour).duration
    assert duration > 3600
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_REPORT, str(hour), str(duration)],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    assert float(done.stdout) < PEAK_LIMIT


@pytest.mark.slow
@NEEDS_FFMPEG
def test_a_late_stretch_of_a_long_file_is_found_by_seeking(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "videos" / "natural" / "person_139s_10fps.mp4"
    long = tmp_path / "long.mp4"
    repeat(source, 6, long)
    plain = plain_read(source)
    start = 5 * probe(source).duration
    frames = read_frames(clip(long, start + 30, start + 60), FramePolicy(count=6, size=48, fit="squash"))
    for second, picture in zip(frames.seconds, frames.pixels, strict=True):
        assert (picture == plain.pixels[plain.shown_at(second - start)]).all()


@pytest.mark.slow
@NEEDS_FFMPEG
def test_sampling_at_one_fps_is_no_slower_than_the_fastest_peer(shared_data: Path, tmp_path: Path) -> None:
    natural = shared_data / "videos" / "natural"
    names = ("scrambled_eggs_70s.mp4", "ego_kitchen_41s.mp4", "charades_31s.mp4", "car_park_30s.mp4")
    path = make_material("h264-250", [natural / name for name in names], tmp_path, seconds=300)
    result = bench_decode(path, repeats=3)
    assert result.comparisons[0].facts["frames"] == 300
    for row in result.comparisons[0].rows:
        if row.ratio is not None:
            # CPU time beside the clock: other processes of the machine slow one run and not the next.
            assert max(row.ratio, row.cpu_ratio or 0) >= 1, row


@pytest.mark.slow
def test_the_benchmark_reads_the_same_frames_with_every_reader(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "ego_frying_2s.mp4"
    result = bench_decode(path, fps=5, counts=(3, 16), size=64, repeats=1)
    assert [comparison.facts["frames"] for comparison in result.comparisons[1:]] == [3, 16]
    for comparison in result.comparisons:
        rows = {row.name: row for row in comparison.rows}
        assert next(iter(rows)) == "ours"
        assert rows["ours"].facts["psnr"] == rows["pyav-sequential"].facts["psnr"]
        assert all(row.missing or row.facts["psnr"] > 30 for row in rows.values())


def test_a_reader_that_fails_by_an_error_of_its_own_is_left_out(shared_data: Path) -> None:
    path = shared_data / "videos" / "natural" / "ego_frying_2s.mp4"
    beyond = _Job("pyav-sequential", path, (100_000, 100_001), 30.0, 64, 1)
    with _Processes(60) as processes, pytest.raises(NotMeasuredError, match="ValueError: need at least one array"):
        processes.run(beyond)


@NEEDS_FFMPEG
def test_material_is_recoded_as_its_name_says(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "videos" / "natural" / "ego_frying_2s.mp4"
    path = make_material("h264-12", [source], tmp_path, seconds=3)
    with av.open(str(path)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.height, stream.average_rate) == ("h264", 720, 30)
        assert stream.codec_context.has_b_frames
    assert [at for at, key in enumerate(keys) if key] == list(range(0, 90, 12))


@NEEDS_FFMPEG
def test_material_of_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"words\.mp4"):
        make_material("av1", [tmp_path / "words.mp4"], tmp_path, seconds=1)


def test_frames_are_sampled_evenly_over_the_whole_file() -> None:
    assert evenly(Path("a.mp4"), 300, 3) == (49, 149, 249)
    assert evenly(Path("a.mp4"), 16, 16) == tuple(range(16))
    with pytest.raises(BackendError, match=r"a\.mp4: it has 15 frames, fewer than the 16"):
        evenly(Path("a.mp4"), 15, 16)
