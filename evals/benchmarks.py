"""Turn a benchmark's name or folder, a pool and data roots into a task; a benchmark is imported only when needed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.data_roots import DATA_VARIABLE, data_roots, looking_in
from tasks.errors import DataError, NoFilesError
from tasks.registry import VARIANT, Benchmark, resolved, split_variant

if TYPE_CHECKING:
    from evals.record import Place, Run
    from tasks.task import Task

OWN_TASKS = "own-"
"""Prefix of the names of tasks made from rows without a benchmark.toml (tasks.folder)."""
LENGTHS = "video-seconds.v1"
"""Cache folder for videos' lengths; raise its number when `probe` changes how it measures."""


def benchmark_folder(benchmark: Benchmark, data: Path | None) -> Path:
    """Find the benchmark's folder under the first data root that has it; any root will do if it needs no files.

    Raises NoFilesError, with the places searched and how to get the files.
    """
    if benchmark.place is not None:
        return benchmark.place
    roots = data_roots(data)
    for root in roots:
        folder = root / benchmark.data_folder
        if benchmark.is_in(folder):
            return folder
    if not benchmark.markers:
        return roots[0] / benchmark.data_folder
    looked = ", ".join(str(root / benchmark.data_folder) for root in roots)
    if benchmark.needs:
        get = benchmark.videos.format(folder=roots[0] / benchmark.data_folder)
        raise NoFilesError(f"no {benchmark.name} files in {looked} ({' or '.join(benchmark.needs)}). {get}")
    msg = (
        f"no {benchmark.name} files in {looked}: run 'longvid prepare {benchmark.name}', or name a folder with "
        f"--data or {DATA_VARIABLE}"
    )
    raise NoFilesError(msg)


def load_task(benchmark: Benchmark, pool: str, data: Path | None, *, to_ask: bool = False) -> Task[Any]:
    """Load the benchmark's task for a pool. Raises DataError for an unknown pool or missing files.

    With `to_ask`, rows whose clip has no length because its video is missing are refused. A pool whose name ends in
    `+rotations` or `+rotations-N` asks each question with its options in rotated order, `+repeats-N` N times.
    """
    name, variant = split_variant(pool)
    if variant:
        return varied(load_task(benchmark, name, data, to_ask=to_ask), variant)
    check_pool(benchmark, pool)
    folder = benchmark_folder(benchmark, data)
    load = resolved(benchmark.load)
    if to_ask and benchmark.place:
        asked: Task[Any] = load(folder, pool, to_ask=True)
        return asked
    with looking_in(data):
        task: Task[Any] = load(folder, pool, seconds_of=seconds_of) if benchmark.measures else load(folder, pool)
    return task


def varied(task: Task[Any], variant: str) -> Task[Any]:
    """Return the task with its questions asked several times, as `variant` (see `split_variant`) says.

    Raises DataError if the family has no options, or if the answers were judged.
    """
    from tasks.multiple_choice import MultipleChoiceTask

    found = VARIANT.fullmatch(variant)
    if found and found["judged"]:
        raise DataError(f"{task.info.name}: use 'longvid judge RUN' to judge answers or to score judged ones again")
    if not isinstance(task, MultipleChoiceTask):
        raise DataError(f"{task.info.name} has no options: --rotations and --repeats are for multiple choice")
    rotations, repeats = (found["rotations"], found["repeats"]) if found else (None, None)
    if rotations:
        count = rotations.partition("-")[2]
        task = task.rotated(int(count) if count else None)
    return task.repeated(int(repeats)) if repeats else task


def with_variant(pool: str, rotations: str | None, repeats: int | None = None) -> str:
    """Add --rotations (N or `all`) and --repeats to a pool's name. Raises DataError for another --rotations."""
    named = pool
    if rotations is not None:
        named += "+rotations" + ("" if rotations == "all" else f"-{rotations}")
        if split_variant(named) == (named, "") or split_variant(pool)[1]:
            raise DataError(f"--rotations must be 'all' or a number of 2 or more, not '{rotations}'")
    return named if repeats is None else f"{named}+repeats-{repeats}"


def check_pool(benchmark: Benchmark, pool: str) -> None:
    """Raise DataError for an unknown pool."""
    if pool not in benchmark.pools:
        raise DataError(f"{benchmark.name} has no pool '{pool}'; pools are {', '.join(benchmark.pools)}")


def find_target(target: str, videos: Path | None = None) -> tuple[Benchmark, str]:
    """Find benchmark and pool of `egoschema@500`, `egoschema`, a task's name, FOLDER, FOLDER@POOL or QUESTIONS.jsonl.

    The pool is empty if none is named. Raises DataError for an unknown one.
    """
    from tasks.registry import benchmark_of, find_benchmark, known_benchmark

    owner = benchmark_of(target)
    if owner is not None:
        return owner, owner.pool_of(target) or ""
    name, _, pool = target.partition("@")
    if (known := known_benchmark(name)) is not None:
        return known, pool
    if is_place(Path(target)):
        return own_benchmark(Path(target), videos), ""
    place, at, pool = target.rpartition("@")
    if at and is_place(Path(place)):
        return own_benchmark(Path(place), videos), pool
    try:
        return find_benchmark(name), pool
    except DataError as error:
        raise DataError(f"{error}; there is no folder '{place if at else target}' either") from error


def with_videos(benchmark: Benchmark, videos: Path | None) -> Benchmark:
    """Set the benchmark's video folder to that of --videos.

    Raises DataError for a benchmark with a fixed video folder.
    """
    if videos is None:
        return benchmark
    if benchmark.place is None:
        msg = f"--videos is for a folder of your own; {benchmark.name} has its videos in its data folder"
        raise DataError(msg)
    return own_benchmark(benchmark.place, videos)


def is_place(path: Path) -> bool:
    """Return whether a path is a folder or a JSON-lines file, which may hold a user's own benchmark."""
    from tasks.files import is_file, is_json_lines

    return path.is_dir() or (is_json_lines(path) and is_file(path))


def holds_benchmark(path: Path) -> bool:
    """Return whether a path is a folder with a benchmark's files, or a JSON-lines file."""
    from tasks.folder import is_benchmark_folder

    return is_place(path) and (not path.is_dir() or is_benchmark_folder(path))


def own_benchmark(place: Path, videos: Path | None = None) -> Benchmark:
    """Load the benchmark of a folder or a questions file. Raises DataError if it holds none."""
    from tasks.folder import folder_benchmark

    if videos is not None and not videos.is_dir():
        raise DataError(f"--videos {videos} is not a folder")
    return folder_benchmark(place, seconds_of, videos)


def place_of(benchmark: Benchmark) -> Place | None:
    """Return the location of a user's own benchmark as a record keeps it; None for benchmarks known by name."""
    from evals.record import Place
    from tasks.files import unicode_only

    if benchmark.place is None:
        return None
    at = benchmark.videos_at
    path, videos = (None if one is None else unicode_only(str(one.resolve())) for one in (benchmark.place, at))
    return Place(path=path or "", videos=videos)


def benchmark_of_run(run: Run, data: Path | None = None, videos: Path | None = None) -> tuple[Benchmark, str]:
    """Return the benchmark and the pool that a run belongs to.

    A user's own benchmark is looked for where the record says, or in `data`: its folder or its file. If it is missing,
    loading the returned benchmark's task raises a DataError that says so. Raises DataError for an unknown benchmark.
    """
    from tasks.registry import benchmark_of

    name = run.task.name
    if run.place is None and not name.startswith(OWN_TASKS):
        owner = benchmark_of(name)
        if owner is None:
            raise DataError(f"{name} is not a known benchmark; --plugin names one of your own")
        return owner, owner.pool_of(name) or owner.pools[0]
    told = Path(run.place.path) if run.place else None
    given = [] if data is None else [data, *([data / told.name] if told else [])]
    place = next((path for path in (*given, *([told] if told else [])) if holds_benchmark(path)), None)
    if place is None:
        lost = data or told
        where = (
            f"there are no files of a benchmark in {lost}" if lost else "the record doesn't say where its questions are"
        )
        fault = DataError(f"{name}: {where}; name its folder or its questions file with --data")
        return faulty_benchmark(run, fault), pool_named(run)
    at = Path(run.place.videos) if run.place and run.place.videos else None
    try:
        return as_recorded(own_benchmark(place, videos or (at if at and at.is_dir() else None)), run)
    except DataError as error:
        return faulty_benchmark(run, error), pool_named(run)


def as_recorded(benchmark: Benchmark, run: Run) -> tuple[Benchmark, str]:
    """Return a user's own benchmark whose loader refuses items other than the run's, and the pool of the run's task."""
    pool, variant = split_variant(pool_named(run))
    pool = pool if pool in benchmark.pools else benchmark.pools[0]

    def load(folder: Path, named: str) -> Task[Any]:  # noqa: ARG001 - as every loader
        task: Task[Any] = resolved(benchmark.load)(folder, pool)
        task = varied(task, variant) if variant else task
        if (task.info.name, task.info.items_sha256) != (run.task.name, run.task.items_sha256):
            unseen = next((item.clip.video_id for item in task.items() if item.clip.end == inf), None)
            msg = (
                f"{benchmark.place} does not hold the items of {run.task.name} in the record: "
                f"{'a row, a pool or a video has changed' if unseen is None else f'there is no video {unseen}'}; name "
                f"the folder as it was with --data{'' if unseen is None else ', that of its videos with --videos'}"
            )
            raise DataError(msg)
        return task

    return replace(benchmark, load=load, pools=(pool,), task_names=(run.task.name,), everything=""), pool


def pool_named(run: Run) -> str:
    """Return the pool in a task's name."""
    return run.task.name.rpartition("@")[2]


def faulty_benchmark(run: Run, fault: DataError) -> Benchmark:
    """Stand in for a benchmark with missing or faulty files: reports work, and loading its task raises `fault`."""

    def load(folder: Path, pool: str) -> Task[Any]:  # noqa: ARG001 - as every loader
        raise fault

    name = run.task.name.rpartition("@")[0]
    return Benchmark(name, name, (pool_named(run),), load, task_names=(run.task.name,))


def task_of_run(run: Run, data: Path | None = None, videos: Path | None = None) -> Task[Any]:
    """Load the task of a run, with the run's own items.

    Raises DataError if its files are missing or hold other items.
    """
    benchmark, pool = benchmark_of_run(run, data, videos)
    return load_task(benchmark, pool, data)


def command_of(task_name: str) -> str:
    """Return the command that makes and scores runs of a task, or the task's name without its pool if there is none."""
    from tasks.registry import benchmark_of

    if task_name.startswith(OWN_TASKS):
        return "ask"
    benchmark = benchmark_of(task_name)
    return benchmark.name if benchmark else task_name.partition("@")[0]


def seconds_of(path: Path) -> float:
    """Return a video's length in seconds, cached: measuring takes a second or more for hours of video.

    Raises VideoError.
    """
    from encoders.video_file import probe
    from evals.store import write_atomic
    from tasks.digests import file_state_sha256
    from tasks.resources import cache_folder

    kept: Path | None = None
    # An unusable cache costs time and nothing else.
    with suppress(OSError, ValueError):
        kept = cache_folder() / LENGTHS / file_state_sha256(path)
        if 0 < (seconds := float(kept.read_text(encoding="utf-8"))) < float("inf"):
            return seconds
    seconds = probe(path).duration
    with suppress(OSError):
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, repr(seconds))
    return seconds
