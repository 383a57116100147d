"""How fast frames are sampled from a file, side by side with the libraries that people use for it."""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from encoders.bench.decode_peers import READERS, Pixels, pyav_sequential
from encoders.bench.machine import machine_facts
from encoders.bench.result import Facts, Measured, NotMeasuredError, Result, in_turn
from encoders.video_errors import BackendError, VideoError
from encoders.video_file import probe
from tasks.video_files import local_address

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
    size: int = 256,
    threads: int = 2,
    repeats: int = 3,
    timeout: float = 600,
    done: Callable[[str], None] = lambda _note: None,
) -> Result:
    """Sample `path` (constant frame rate) at `fps` with ours and every peer that is installed, in turn.

    Each run has a process of its own, whose start and imports are not counted. A row's `psnr` is its least agreement
    (dB) with a plain sequential read: equal frames differ by the scaler only, another frame shows. Raises BackendError
    where the file's frame rate varies.
    """
    info = probe(path)
    if info.fps is None:
        raise BackendError(f"{path}: the benchmark needs a file of constant frame rate")
    stride = max(1, round(info.fps / fps))
    frames = info.frame_count or round(info.duration * info.fps)
    indices = tuple(range(stride // 2, frames, stride))
    truth = pyav_sequential(path, indices, info.fps, size, threads)
    jobs = [_Job(name, path, indices, info.fps, size, threads) for name, _ in READERS]
    ways = {job.name: partial(_measured, job, truth, timeout) for job in jobs}
    work = f"{len(indices)} frames at {size} px from {info.duration:.0f} s of {info.codec}"
    comparison = in_turn(work, ways, repeats, done, facts={"frames": len(indices)}, warm_up=False)
    settings: Facts = {"video": path.name, "fps": fps, "size": size, "threads": threads, "repeats": repeats}
    return Result("decode", machine_facts(), settings, (comparison,))


def _measured(job: _Job, truth: Pixels, timeout: float) -> Measured:
    missing = _why_missing(job.name)
    if missing:
        raise NotMeasuredError(missing)
    run = _run_apart(job, timeout)
    psnr = _least_psnr(run.pixels, truth)
    return Measured(run.seconds, run.cpu_seconds, {"psnr": None if psnr is None else round(psnr, 1)})


def _why_missing(name: str) -> str | None:
    if name == "ffmpeg":
        return None if shutil.which("ffmpeg") else "the ffmpeg program is not installed"
    module = _MODULES.get(name)
    return f"{module} is not installed" if module and find_spec(module) is None else None


def _run_apart(job: _Job, timeout: float) -> _Run:
    """One run in a process of its own. Raises NotMeasuredError: a peer may hang or crash."""
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        return pool.submit(_run, job).result(timeout)
    except (TimeoutError, BrokenProcessPool, VideoError, ImportError, RuntimeError, OSError) as error:
        for process in multiprocessing.active_children():
            if isinstance(error, TimeoutError):
                process.kill()
        raise NotMeasuredError(f"{type(error).__name__}: {error}".splitlines()[0]) from error
    finally:
        pool.shutdown()


def _run(job: _Job) -> _Run:
    reader = dict(READERS)[job.name]
    # The first two frames bring in the libraries, whose import is not what is measured.
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


def make_bench_video(sources: Sequence[Path], path: Path, seconds: float = 300) -> None:
    """Write 720p30 H.264 (a key frame every 250, B-frames), looping over real clips; needs ffmpeg."""
    inputs = [argument for source in sources for argument in ("-i", local_address(source))]
    scaled = ";".join(f"[{i}:v:0]scale=1280:720,setsar=1,fps=30[v{i}]" for i in range(len(sources)))
    joined = "".join(f"[v{i}]" for i in range(len(sources))) + f"concat=n={len(sources)}:v=1"
    graph = f"{scaled};{joined},loop=loop=-1:size=32767,trim=duration={seconds}"
    coding = "keyint=250:min-keyint=250:scenecut=0:bframes=3"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-an", "-c:v", "libx264",
         "-pix_fmt", "yuv420p", "-x264-params", coding, local_address(path)],
        check=True,
    )  # fmt: skip
