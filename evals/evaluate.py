"""The Python API behind `import longvid`: evaluate a model on a benchmark, read runs, compare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from evals.compare.rows import Comparison
    from evals.leaderboard.rows import Leaderboard
    from evals.record import Results
    from tasks.task import Clip, Task


@dataclass(frozen=True)
class Evaluation:
    """A run on disk: its figures, its items, its page."""

    folder: Path
    data: Path | None = None

    @cached_property
    def results(self) -> Results:
        """The sealed `results.json`."""
        from evals.store import read_results

        return read_results(self.folder)

    @property
    def value(self) -> float | None:
        """The primary figure; None if public data can't give it."""
        return self.results.primary.value

    @cached_property
    def figures(self) -> pd.DataFrame:
        """One row per metric, floors included: value, interval, method, items and clusters."""
        from evals.load import metrics_frame

        return metrics_frame([self.folder])

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per recorded item: answer, scores, tokens, seconds, error."""
        from evals.load import samples_frame

        return samples_frame(self.folder)

    def to_html(self, out: Path | str) -> Path:
        """Write the run's page; if the benchmark's files are missing, it has no questions and pictures."""
        from evals.benchmarks import task_of_run
        from evals.html_report.run_page import write_run_page
        from evals.store import read_run

        try:
            task = task_of_run(read_run(self.folder), self.data)
        except DataError:
            task = None
        return write_run_page(self.folder, Path(out), task).path


def evaluate(
    model: object,
    benchmark: str | Path,
    *,
    out: Path | str | None = None,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    data: Path | str | None = None,
    videos: Path | str | None = None,
    limit: int | None = None,
    seed: int = 0,
    max_failures: int = 25,
) -> Evaluation:
    """Ask a model every item of a benchmark, keep the record, score it beside its floors. The same call resumes.

    Args:
        model: an object with one of the methods `generate`, `choose`, `score_options`, `caption`, or `embed_video` with
            `embed_text`; or a model's name, with its `options`.
        benchmark: a benchmark's name, with a pool behind an @ where it has several (`egoschema@500`), or the folder of
            your own (`folder`, `folder@pool`).
        out: the run directory; by default `runs/<task>/<model>-…`.
        options: options of a named model, as given with -M on the command line.
        name: the run's name in tables; by default the folder's.
        data: the data root; by default the first of $LONGVID_DATA, ./data and ../shared/data that has the files.
        videos: where the videos of your own benchmark are; by default in its folder.
        limit: only the first items: a partial run, not a result.
        seed: the seed of the intervals and of the chance floor.
        max_failures: the run stops after more failed items than this.

    Returns:
        The run, with its figures and samples as pandas frames.

    Raises:
        ModelError: the model lacks what the task needs, or its first reply is of another type.
        DataError: the benchmark or its files are not there.
        RecordError: the folder holds another run, or too many items failed.
    """
    from evals.benchmarks import find_target, load_task, place_of
    from evals.run_verb import RunChoices, ask_model, carry_out
    from tasks.adapt import adapted

    root = None if data is None else Path(data)
    found, pool = find_target(str(benchmark), None if videos is None else Path(videos))
    task = load_task(found, pool or found.pools[0], root, to_ask=True)
    place = None if out is None else Path(out)
    choices = RunChoices(place, name, limit, None, max_failures, True, seed, place_of(found))
    if isinstance(model, str):
        folder, _ = carry_out(task, model, {key: str(value) for key, value in (options or {}).items()}, choices)
    else:
        built = adapted(model)
        system = getattr(model, "system", None)
        folder, _ = ask_model(task, built, type(model).__name__, {}, choices, system and str(system))
    return Evaluation(folder, root)


def task_of(name: str, data: Path | None = None) -> Task[Any]:
    """Load a benchmark's items and scorer, without running anything.

    Args:
        name: a benchmark's name or folder, with or without a pool behind an @, or a task's own name.
        data: the data root; by default the first of $LONGVID_DATA, ./data and ../shared/data that has the files.

    Returns:
        The task: `items()`, `score(item, prediction)` and `summarise(scores, rng)`.

    Raises:
        DataError: the name or the pool is unknown, or files are missing.
    """
    from evals.benchmarks import find_target, load_task

    benchmark, pool = find_target(name)
    return load_task(benchmark, pool or benchmark.pools[0], data)


def load(folder: Path | str, data: Path | str | None = None) -> Evaluation:
    """Read a run from its directory.

    Args:
        folder: the run directory.
        data: the data root, for the run's page.

    Returns:
        The run.

    Raises:
        RecordError: the directory holds no run, or a damaged one.
    """
    run = Evaluation(Path(folder), None if data is None else Path(data))
    _ = run.results
    return run


def compare(*runs: Evaluation | Path | str, data: Path | str | None = None, allow_mismatch: bool = False) -> Comparison:
    """Compare each run with the first, on the items that all answered.

    Args:
        *runs: two runs or more, or their directories.
        data: the data root; by default the first of $LONGVID_DATA, ./data and ../shared/data that has the files.
        allow_mismatch: compare runs of another protocol too, and say so in the result.

    Returns:
        The comparison: differences with intervals and tests, and what they say in words.

    Raises:
        RecordError: the runs have other items, or another protocol and `allow_mismatch` is not given.
    """
    from evals.compare.build import compare as build
    from evals.compare.command import task_of as task_of_record
    from evals.compare.record import read_records

    records = read_records([run.folder if isinstance(run, Evaluation) else Path(run) for run in runs])
    task, _ = task_of_record(records[0], None if data is None else Path(data))
    return build(records, task, allow_mismatch=allow_mismatch)


def leaderboard(places: Iterable[Path | str]) -> Leaderboard:
    """Set complete runs side by side, in one table for each task and pool.

    Args:
        places: run directories, or folders that hold some at any depth.

    Returns:
        The tables, and why other runs are left out.

    Raises:
        RecordError: there are no runs.
    """
    from evals.leaderboard.build import collect_leaderboard

    return collect_leaderboard([Path(place) for place in places])


def frames(clip: Clip, count: int = 16, *, size: int | None = 224, fps: float | None = None) -> NDArray[np.uint8]:
    """Decode frames of a clip, evenly over it.

    Args:
        clip: what to look at; `request.clip` in a model's method.
        count: how many frames, at the mid-points of equal segments; with `fps`, the most.
        size: side of the square that is cut from the centre, in pixels; None keeps the stored pixels.
        fps: frames per second, in place of a fixed number.

    Returns:
        Pixels uint8 [T, H, W, 3], upright RGB, in order of time.

    Raises:
        VideoError: the clip names no file, or the file can't be decoded.
    """
    from encoders.frames import read_frames
    from encoders.sampling import FramePolicy

    policy = FramePolicy(count=count, size=size) if fps is None else FramePolicy(fps=fps, cap=count, size=size)
    return read_frames(clip, policy).pixels
