"""Speed of sampling frames from a file, compared with common libraries."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from encoders.decode import decode
from encoders.sampling import FramePolicy
from encoders.video_errors import BackendError
from encoders.video_file import probe
from lab.bench.result import Facts, Measured, NotMeasuredError, Result, in_turn
from tasks.machine import machine_facts
from tasks.video_files import local_address

Pixels = NDArray[np.uint8]
Reader = Callable[[Path, Sequence[int], float, int, int], Pixels]


def ours(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:
    """What is on screen in the middle of each wanted frame's time."""
    middles = tuple((index + 0.5) / rate for index in indices)
    return decode(path, middles, FramePolicy(count=len(indices), size=size, fit="squash"), threads).pixels


def pyav_sequential(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """Decode every frame in turn with PyAV."""
    wanted, pictures = set(indices), []
    with av.open(local_address(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count, stream.codec_context.thread_type = threads, "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number in wanted:
                picture = frame.to_ndarray(format="rgb24", width=size, height=size, interpolation="BICUBIC")
                pictures.append(picture)
    return np.stack(pictures).astype(np.uint8, copy=False)


def decord(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """The `get_batch` of decord, resizing as it decodes."""
    reader = import_module("decord").VideoReader(str(path.absolute()), width=size, height=size, num_threads=threads)
    return np.asarray(reader.get_batch(list(indices)).asnumpy(), dtype=np.uint8)


def torchcodec(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """TorchCodec with its resize transform."""
    resize = import_module("torchcodec.transforms").Resize((size, size))
    decoder = import_module("torchcodec.decoders").VideoDecoder(
        str(path.absolute()), num_ffmpeg_threads=threads, transforms=[resize], dimension_order="NHWC"
    )
    return np.asarray(decoder.get_frames_at(list(indices)).data.numpy(), dtype=np.uint8)


def opencv(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """OpenCV: grab every frame, retrieve the wanted ones."""
    cv2 = import_module("cv2")
    cv2.setNumThreads(threads)
    capture = cv2.VideoCapture(str(path.absolute()))
    wanted, pictures, number = set(indices), [], 0
    while capture.grab():
        if number in wanted:
            small = cv2.resize(capture.retrieve()[1], (size, size), interpolation=cv2.INTER_AREA)
            pictures.append(cv2.cvtColor(small, cv2.COLOR_BGR2RGB))
        number += 1
    return np.stack(pictures).astype(np.uint8, copy=False)


def ffmpeg(path: Path, indices: Sequence[int], rate: float, size: int, threads: int) -> Pixels:  # noqa: ARG001  one shape for all
    """Run the ffmpeg program, writing raw frames to a pipe."""
    stride = indices[1] - indices[0]
    # It stops after the last one; the frames before the first are told apart, as mod is 0 for every stride of them.
    taken = f"gte(n\\,{indices[0]})*not(mod(n-{indices[0]}\\,{stride}))"
    chosen = f"select={taken},scale={size}:{size}"
    command = ["ffmpeg", "-v", "error", "-threads", str(threads), "-i", local_address(path), "-an", "-vf", chosen]
    written = subprocess.run(
        [*command, "-frames:v", str(len(indices)), "-vsync", "0", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
        capture_output=True,
        check=True,
    ).stdout
    return np.frombuffer(written, dtype=np.uint8).reshape(-1, size, size, 3)


OURS = "ours"
READERS: tuple[tuple[str, Reader], ...] = (
    (OURS, ours),
    ("pyav-sequential", pyav_sequential),
    ("decord", decord),
    ("torchcodec", torchcodec),
    ("opencv", opencv),
    ("ffmpeg", ffmpeg),
)


_MODULES = {"decord": "decord", "torchcodec": "torchcodec", "opencv": "cv2"}


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    path: Path
    indices: tuple[int, ...]
    rate: float
    size: int
    threads: int


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    seconds: float
    cpu_seconds: float
    pixels: Pixels


def bench_decode(
    path: Path,
    *,
    fps: float = 1.0,
    counts: Sequence[int] = (),
    size: int = 256,
    threads: int = 2,
    repeats: int = 3,
    timeout: float = 600,
    done: Callable[[str], None] = lambda _note: None,
) -> Result:
    """Sample `path` (constant frame rate) with ours and every peer that is installed, in turn.

    Once at `fps`, and once for each of `counts`: so many frames, evenly over the file. Each reader has a process of its
    own, whose start and imports are not counted. A row's `psnr` is its least agreement (dB) with a plain sequential
    read: equal frames differ by the scaler only, another frame shows. Raises BackendError where the file's frame rate
    varies, or it has fewer frames than are wanted.
    """
    info = probe(path)
    if info.fps is None:
        raise BackendError(f"{path}: the benchmark needs a file of constant frame rate")
    frames = info.frame_count or round(info.duration * info.fps)
    stride = max(1, round(info.fps / fps))
    comparisons = []
    with _Processes(timeout) as processes:
        for indices in (tuple(range(stride // 2, frames, stride)), *(evenly(path, frames, n) for n in counts)):
            truth = pyav_sequential(path, indices, info.fps, size, threads)
            jobs = [_Job(name, path, indices, info.fps, size, threads) for name, _ in READERS]
            ways = {job.name: partial(_measured, processes, job, truth) for job in jobs}
            work = f"{len(indices)} frames at {size} px from {path.name}, {info.duration:.0f} s of {info.codec}"
            facts: Facts = {"frames": len(indices)}
            comparisons.append(in_turn(work, ways, repeats, done, facts=facts, warm_up=False))
    settings: Facts = {"video": path.name, "fps": fps, "size": size, "threads": threads, "repeats": repeats}
    return Result("decode", machine_facts(), settings, tuple(comparisons))


def evenly(path: Path, frames: int, count: int) -> tuple[int, ...]:
    """Numbers of `count` frames, as far apart as the file's `frames` allow. Raises BackendError for too many."""
    if frames < count:
        raise BackendError(f"{path}: it has {frames} frames, fewer than the {count} to be sampled")
    stride = frames // count
    first = (frames - 1 - stride * (count - 1)) // 2
    return tuple(range(first, first + stride * count, stride))


def _measured(processes: _Processes, job: _Job, truth: Pixels) -> Measured:
    missing = _why_missing(job.name)
    if missing:
        raise NotMeasuredError(missing)
    run = processes.run(job)
    psnr = _least_psnr(run.pixels, truth)
    return Measured(run.seconds, run.cpu_seconds, {"psnr": None if psnr is None else round(psnr, 1)})


def _why_missing(name: str) -> str | None:
    if name == "ffmpeg":
        return None if shutil.which("ffmpeg") else "the ffmpeg program is not installed"
    module = _MODULES.get(name)
    return f"{module} is not installed" if module and find_spec(module) is None else None


class _Processes:
    """A process for each reader, started when it is first needed; a peer may hang or crash."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._pools: dict[str, ProcessPoolExecutor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.shutdown()

    def run(self, job: _Job) -> _Run:
        """One run. Raises NotMeasuredError, whatever it is that a peer raises; an error of ours is raised as it is."""
        context = multiprocessing.get_context("spawn")
        pool = self._pools.setdefault(job.name, ProcessPoolExecutor(1, mp_context=context))
        running = pool.submit(_run, job)
        try:
            fault = running.exception(self._timeout)
        except TimeoutError as error:
            # An executor does not tell which process is its own: the other readers' start again.
            for process in multiprocessing.active_children():
                process.kill()
            self._pools.clear()
            raise NotMeasuredError(f"TimeoutError: not done within {self._timeout:g} s") from error
        if fault is not None and job.name != OURS:
            raise NotMeasuredError(f"{type(fault).__name__}: {fault}".splitlines()[0]) from fault
        return running.result()


def _run(job: _Job) -> _Run:
    reader = dict(READERS)[job.name]
    # The first two frames load the libraries, whose import is not measured.
    reader(job.path, job.indices[:2], job.rate, job.size, job.threads) if job.name in _MODULES else None
    cpu, began = _cpu_seconds(), time.perf_counter()
    pixels = reader(job.path, job.indices, job.rate, job.size, job.threads)
    return _Run(time.perf_counter() - began, _cpu_seconds() - cpu, pixels)


def _cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _least_psnr(pixels: Pixels, truth: Pixels) -> float | None:
    if pixels.shape != truth.shape:
        return None
    pairs = zip(pixels, truth, strict=True)
    errors = [float(np.mean((a.astype(np.float32) - b) ** 2)) for a, b in pairs]
    return float(10 * np.log10(255**2 / max(*errors, 1e-10)))


@dataclass(frozen=True, slots=True)
class Material:
    """A kind of file: its picture's height (16:9), its ending, and ffmpeg's words for how it is coded."""

    height: int
    ending: str
    coding: tuple[str, ...]


def _x264(every: int) -> Material:
    words = f"keyint={every}:min-keyint={every}:scenecut=0:bframes=3"
    return Material(720, ".mp4", ("-c:v", "libx264", "-preset", "fast", "-x264-params", words))


MATERIALS = {
    "h264-12": _x264(12),
    "h264-30": _x264(30),
    "h264-250": _x264(250),
    "hevc-1080p": Material(
        1080, ".mp4",
        ("-c:v", "libx265", "-preset", "fast", "-x265-params", "log-level=error:keyint=60:min-keyint=60:bframes=3"),
    ),
    "vp9": Material(
        720, ".webm", ("-c:v", "libvpx-vp9", "-b:v", "1500k", "-deadline", "realtime", "-cpu-used", "6", "-g", "128")
    ),
    "av1": Material(720, ".mp4", ("-c:v", "libsvtav1", "-preset", "10", "-crf", "35", "-g", "150")),
}  # fmt: skip
"""What videos come as: a key frame every 12, 30 and 250 frames, all with B-frames where the codec has them."""


def make_material(kind: str, sources: Sequence[Path], folder: Path, seconds: float) -> Path:
    """Write `seconds` of 30 frames a second, going over the sources again and again, as one of MATERIALS.

    Return the file. Raises VideoError for a source that can't be read, NotMeasuredError where there is no ffmpeg
    program or it can't code that.
    """
    material = MATERIALS[kind]
    width, path = material.height * 16 // 9, folder / f"{kind}{material.ending}"
    times = ceil(seconds / sum(probe(source).duration for source in sources))
    read = [*sources] * times
    inputs = [argument for source in read for argument in ("-i", local_address(source))]
    scaled = ";".join(f"[{i}:v:0]scale={width}:{material.height},setsar=1,fps=30[v{i}]" for i in range(len(read)))
    joined = "".join(f"[v{i}]" for i in range(len(read))) + f"concat=n={len(read)}:v=1"
    graph = f"{scaled};{joined},trim=duration={seconds}"
    coded = ["-filter_complex", graph, "-an", "-pix_fmt", "yuv420p", *material.coding, local_address(path)]
    try:
        subprocess.run(["ffmpeg", "-v", "error", "-y", *inputs, *coded], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NotMeasuredError("the ffmpeg program, which makes the material, is not installed") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise NotMeasuredError(f"ffmpeg can't make {kind} of {sources[0].name}: {last}") from error
    return path
