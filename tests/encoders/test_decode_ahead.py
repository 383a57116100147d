from __future__ import annotations

import errno
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

from encoders.decode_ahead import AheadPolicy, DecodedClip, Decoders, blamed, decode_ahead
from encoders.frames import read_frames
from encoders.sampling import FramePolicy
from encoders.video_errors import (
    DecodeFaultError,
    DecodeTimeoutError,
    DecodeWorkerError,
    EmptyVideoError,
    ResourcesError,
    UnreadableVideoError,
)
from tasks.task import Clip
from tests.encoders.videos import clip

POLICY = FramePolicy(count=8, size=64)


def slow(*values: object) -> ParameterSet:
    """A case of a kind that a fast one holds already: each starts processes anew."""
    return pytest.param(*values, marks=pytest.mark.slow)


def clips(shared_data: Path) -> list[Clip]:
    videos = shared_data / "videos"
    return [
        clip(videos / "natural" / "scrambled_eggs_70s.mp4", 0, 60),
        clip(videos / "natural" / "bikes_10s.mp4", 0, 9),
        clip(videos / "broken" / "empty_0_bytes.webm", 0, 5),
        clip(videos / "natural" / "ego_frying_2s.mp4", 0, 2),
        clip(videos / "natural" / "nasa_13s.mp4", 2, 12),
    ]


@pytest.fixture(scope="module")
def decoded(shared_data: Path) -> list[DecodedClip]:
    return list(decode_ahead(clips(shared_data), POLICY))


def test_clips_come_in_order_with_the_frames_of_a_direct_read(shared_data: Path, decoded: list[DecodedClip]) -> None:
    assert [result.clip for result in decoded] == clips(shared_data)
    for result in decoded:
        if result.frames is not None:
            direct = read_frames(result.clip, POLICY)
            assert np.array_equal(result.frames.pixels, direct.pixels)
            assert result.frames.seen == direct.seen


def test_an_error_is_data_of_its_video_alone(decoded: list[DecodedClip]) -> None:
    errors = [result.error for result in decoded]
    assert isinstance(errors[2], EmptyVideoError)
    assert [error is None for error in errors] == [True, True, False, True, True]


def test_decoding_and_waiting_are_timed_apart(shared_data: Path) -> None:
    results = []
    for result in decode_ahead(clips(shared_data)[:2] * 3, POLICY, AheadPolicy(workers=1, ahead=6)):
        results.append(result)
        time.sleep(1.0 if len(results) == 1 else 0)
    assert all(result.decode_seconds > 0 for result in results)
    assert results[0].wait_seconds > results[0].decode_seconds
    assert results[1].wait_seconds < results[1].decode_seconds


def test_no_more_clips_are_taken_than_may_be_ahead(shared_data: Path) -> None:
    taken = []

    def source() -> Iterator[Clip]:
        for one in clips(shared_data) * 4:
            taken.append(one)
            yield one

    stream = decode_ahead(source(), POLICY, AheadPolicy(workers=2, ahead=3))
    for given in range(1, 6):
        next(stream)
        assert len(taken) <= given + 3
    stream.close()


def test_closing_early_leaves_no_process(shared_data: Path) -> None:
    stream = decode_ahead(clips(shared_data) * 10, POLICY)
    next(stream)
    assert multiprocessing.active_children()
    began = time.perf_counter()
    stream.close()
    assert time.perf_counter() - began < 5
    assert not multiprocessing.active_children()


def test_what_was_not_begun_when_the_iterator_is_dropped_is_never_decoded(shared_data: Path) -> None:
    long, short = clips(shared_data)[0], clips(shared_data)[3]
    with Decoders(AheadPolicy(workers=1, ahead=40)) as decoders:
        dropped = decoders.decode([short] + [long] * 30, POLICY)
        next(dropped)
        dropped.close()
        began = time.perf_counter()
        after = next(decoders.decode([short], POLICY))
        waited = time.perf_counter() - began
        one = next(decoders.decode([long], POLICY)).decode_seconds
    assert after.frames is not None
    assert waited < 15 * one


def test_a_video_that_takes_too_long_is_stopped_and_the_next_is_decoded(shared_data: Path, tmp_path: Path) -> None:
    long = clip(shared_data / "videos" / "natural" / "epic_wall_vp9_720p60_10s.webm", 0, 9.9)
    quick = clip(shared_data / "videos" / "natural" / "ego_frying_2s.mp4", 0, 1)
    policy = AheadPolicy(workers=1, ahead=2, timeout=0.001)
    stream = decode_ahead([long], POLICY, policy)
    result = next(stream)
    assert isinstance(result.error, DecodeTimeoutError)
    assert "epic_wall_vp9" in str(result.error)
    stream.close()
    assert next(iter(decode_ahead([quick], POLICY))).error is None


@pytest.mark.parametrize("sent", [signal.SIGKILL, slow(signal.SIGTERM), slow(signal.SIGHUP)])
def test_a_worker_killed_from_outside_is_replaced_and_its_video_decoded(
    shared_data: Path, sent: signal.Signals
) -> None:
    one = clip(shared_data / "videos" / "natural" / "bottles_40s.mp4", 0, 30)
    stream = decode_ahead([one] * 3, FramePolicy(count=30, size=64), AheadPolicy(workers=1, ahead=3))
    first = next(stream)
    killed = {child.pid for child in multiprocessing.active_children()}
    for pid in killed:
        os.kill(pid, sent)
    second = next(stream)
    assert killed.isdisjoint({child.pid for child in multiprocessing.active_children()})
    for result in (first, second, *stream):
        assert result.error is None
        assert np.array_equal(result.frames.pixels, first.frames.pixels)


@dataclass(frozen=True)
class Asked:
    """In place of a clip's path: does what it is told to where a worker looks at it; the log has a line a look."""

    does: str
    log: Path

    def is_file(self) -> bool:
        with self.log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        if self.does == "a fault":
            return {}["no such key"]
        if self.does == "full memory":
            raise MemoryError("Unable to allocate 3.1 GiB")
        if self.does == "an error of the disk":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.does.isdecimal():
            os._exit(int(self.does))
        os.kill(os.getpid(), signal.Signals[self.does])
        return True

    def __str__(self) -> str:
        return "kitchen.mp4"


@pytest.mark.parametrize(
    ("does", "kind", "told", "looks"),
    [
        ("SIGKILL", DecodeWorkerError, "killed from outside .*memory runs out", 2),
        slow("SIGTERM", DecodeWorkerError, "killed from outside", 2),
        ("SIGSEGV", DecodeWorkerError, "crashed 2 processes .*may be damaged", 2),
        slow("3", DecodeWorkerError, "exit status 3, which is not the file's fault", 2),
        ("a fault", DecodeFaultError, "fault in longvid, not in the file.*KeyError: 'no such key', .* line ", 1),
        slow("full memory", ResourcesError, "not enough memory for its frames .Unable.*file may be whole", 1),
        slow("an error of the disk", UnreadableVideoError, "can't be read .Input/output error", 1),
    ],
)
def test_what_ends_a_worker_is_told_by_whose_fault_it_is_and_costs_one_video(
    shared_data: Path, tmp_path: Path, does: str, kind: type[Exception], told: str, looks: int
) -> None:
    bad = Clip("bad", 0, 1, Asked(does, tmp_path / "log"))
    good = clip(shared_data / "videos" / "natural" / "ego_frying_2s.mp4", 0, 1)
    results = list(decode_ahead([bad, good], POLICY, AheadPolicy(workers=1, ahead=2)))
    assert type(results[0].error) is kind
    assert re.search(f"^kitchen.mp4: .*{told}", str(results[0].error))
    assert ("damaged" in str(results[0].error)) == (does == "SIGSEGV")
    assert len((tmp_path / "log").read_text().split()) == looks
    assert np.array_equal(results[1].frames.pixels, read_frames(good, POLICY).pixels)


def failure(error: Exception) -> Exception:
    """The error as it is once it was raised: with the place where."""
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (MemoryError("Unable to allocate 3.1 GiB"), ResourcesError, "not enough memory .*3.1 GiB.*may be whole"),
        (MemoryError(), ResourcesError, "not enough memory .*memory is full"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), UnreadableVideoError, "can't be read .Input/output error"),
        (KeyError("no such key"), DecodeFaultError, "fault in longvid.*KeyError: 'no such key', .* line "),
        (EmptyVideoError("kitchen.mp4: 0 bytes"), EmptyVideoError, "0 bytes"),
    ],
)
def test_an_error_is_told_by_whose_fault_it_is(error: Exception, kind: type[Exception], told: str) -> None:
    blame = blamed(clip(Path("kitchen.mp4"), 0, 1), failure(error))
    assert type(blame) is kind
    assert re.search(f"^kitchen.mp4: .*{told}|^kitchen.mp4: {told}", str(blame))


def test_memory_that_lacks_where_frames_are_received_leaves_nothing_for_the_next_clip(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (clip(shared_data / "videos" / "natural" / name, 0, 1) for name in ("ego_frying_2s.mp4", "nasa_13s.mp4"))

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    with Decoders(AheadPolicy(workers=1, ahead=1)) as decoders:
        with monkeypatch.context() as patch:
            patch.setattr("encoders.decode_ahead.np.empty", full)
            assert isinstance(next(decoders.decode([one], POLICY)).error, ResourcesError)
        after = next(decoders.decode([two], POLICY))
    assert np.array_equal(after.frames.pixels, read_frames(two, POLICY).pixels)


DECODES = """
clips = [Clip("a", 0, 1, Path(sys.argv[1]))] * 3
for done in decode_ahead(clips, FramePolicy(count=2, size=32), AheadPolicy({options})):
    print(done.error or "decoded", flush=True)
"""
EVALUATES = """
source = FrameSource(FramePolicy(count=2, size=32), Reading(workers=2))
clips = [Clip("a", 0, end, Path(sys.argv[1])) for end in (1, 1.5, 2)]
with source.ahead(clips):
    for one in clips:
        try:
            source.read([one])
            print("decoded")
        except Exception as error:
            print("failed", error)
"""
SCRIPT = """
import sys, time
from pathlib import Path
from encoders.decode_ahead import AheadPolicy, decode_ahead
from encoders.decode_ahead import FrameSource, Reading
from encoders.sampling import FramePolicy
from tasks.task import Clip
"""


def run_script(tmp_path: Path, shared_data: Path, text: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "mine.py"
    path.write_text(SCRIPT + text)
    command = [sys.executable, path, shared_data / "videos" / "natural" / "ego_frying_2s.mp4"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=with_this_code())


def with_this_code() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.mark.parametrize("work", [slow(DECODES.format(options="")), EVALUATES])
def test_a_script_without_a_guard_is_told_so_at_once(tmp_path: Path, shared_data: Path, work: str) -> None:
    done = run_script(tmp_path, shared_data, work)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("encoders.video_errors.DecoderStartError: ")
    assert "guard your script" in last
    assert 'if __name__ == "__main__":' in last
    # Neither the video nor Python is blamed, and no item of the script's is done or failed by its copies.
    assert "damaged" not in done.stderr
    assert "bootstrapping" not in done.stderr
    assert done.stdout == ""


def test_a_script_whose_import_fails_in_a_worker_hears_of_the_guard(tmp_path: Path, shared_data: Path) -> None:
    done = run_script(tmp_path, shared_data, f"open({str(tmp_path / 'new')!r}, 'x')\n{DECODES.format(options='')}")
    assert "DecoderStartError: a decoding process ended while it started (exit status 1" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_a_script_that_goes_on_for_long_before_it_decodes_is_waited_for_by_the_start_limit_alone(
    tmp_path: Path, shared_data: Path
) -> None:
    waits = "if __name__ != '__main__':\n    time.sleep(1000)\n"
    done = run_script(tmp_path, shared_data, waits + DECODES.format(options="start_timeout=0.2"))
    assert "DecoderStartError: a decoding process was not ready after 0.2 s" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_a_script_with_a_guard_decodes(tmp_path: Path, shared_data: Path) -> None:
    work = DECODES.format(options="workers=1").replace("\n", "\n    ").strip()
    done = run_script(tmp_path, shared_data, f"if __name__ == '__main__':\n    {work}\n")
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", ["decoded"] * 3)


@pytest.mark.parametrize(
    ("sent", "after"),
    [
        slow(signal.SIGINT, 0.0),
        (signal.SIGINT, 0.4),
        slow(signal.SIGINT, 2.0),
        slow(signal.SIGTERM, 0.4),
        slow(signal.SIGHUP, 0.4),
    ],
)
def test_decoders_say_nothing_when_a_signal_ends_their_group(
    tmp_path: Path, shared_data: Path, sent: signal.Signals, after: float
) -> None:
    """As Ctrl-C and a closed terminal do: every process of the group gets it, at whatever it is."""
    path = tmp_path / "mine.py"
    quiet = "signal.signal(getattr(signal, sys.argv[2]), lambda *_: sys.exit(7))"
    path.write_text(
        f"{SCRIPT}import signal\n"
        f"if __name__ == '__main__':\n    {quiet}\n    print('begun', flush=True)\n"
        "    clip = Clip('a', 0, 30, Path(sys.argv[1]))\n"
        "    for done in decode_ahead([clip] * 1000, FramePolicy(count=30, size=32)):\n        pass\n"
    )
    video = shared_data / "videos" / "natural" / "bottles_40s.mp4"
    process = subprocess.Popen(
        [sys.executable, path, video, sent.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=with_this_code(),
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(after)
    os.killpg(process.pid, sent)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (7, "")


def test_an_exception_of_the_consumer_ends_the_workers(shared_data: Path) -> None:
    def consume() -> None:
        for result in decode_ahead(clips(shared_data) * 3, POLICY):
            msg = result.clip.video_id
            raise LookupError(msg)

    with pytest.raises(LookupError):
        consume()
    assert not multiprocessing.active_children()


def test_no_clips_start_no_process() -> None:
    assert list(decode_ahead([], POLICY)) == []
