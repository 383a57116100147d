"""Distribute work over many GPUs and machines with Ray Data: workers that each build their state once.

This module does not know what the work is: a function from items to a result for each, built in every worker by a
builder function. Results come as they are made. Ray restarts a worker that died, and gives its unfinished items, at
most `at_once` of them, to any free worker.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from typing import Any, TypeVar

from tasks.errors import LongvidError, ModelError

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Sequence[T]], Iterable[R]]
"""Yields results of some items, in any order and number."""
TRIES = 4
"""How often an item is tried before the run ends because workers die on it."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pool:
    """`workers` processes with one model each, on `gpus` GPUs each (fractions share one).

    `address` is a running cluster (HOST:PORT, or auto for this machine's); without it one is started here
    and stopped after the work.
    """

    workers: int = 1
    gpus: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        """Check the sizes. Raises ModelError."""
        if self.workers < 1 or self.gpus < 0:
            raise ModelError(f"a pool needs at least one worker and no negative GPUs: {self.workers}, {self.gpus}")


@contextmanager
def joined(pool: Pool) -> Iterator[None]:
    """Connect to the pool's cluster or start one; disconnect at the end. Raises ModelError if that fails."""
    if find_spec("ray") is None:
        raise ModelError("--engine ray needs Ray: pip install 'longvid[ray]'")
    # longvid prints its own messages; Ray's log is in its session's folder.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # By default Ray lowers the priority of its workers.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    # One processor more than the workers use, because Ray Data starts nothing if none is left for it.
    own = {"num_cpus": pool.workers + 1, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    try:
        ray.init(
            address=pool.address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            **({} if pool.address else own),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelError(f"no Ray cluster at {pool.address or 'this machine'}: {error}") from error
    try:
        if pool.address is None:
            _check_gpus(pool, ray.cluster_resources().get("GPU", 0.0))
        yield
    finally:
        ray.shutdown()


def ask(pool: Pool, call: Callable[[], T]) -> T:
    """Run `call` once on a worker and return its answer. Raises the LongvidError that `call` raises there."""
    import ray

    remote = ray.remote(num_cpus=1, num_gpus=pool.gpus, max_retries=TRIES - 1)(_called)
    with _named("asked for what it is"):
        answer: T = ray.get(remote.remote(call))
    return answer


def spread(pool: Pool, build: Callable[[], Work[T, R]], items: Sequence[T], at_once: int) -> Iterator[R]:
    """Yield results of all items; a worker gets `at_once` of them at a time.

    Raises the LongvidError that the work raises, and ModelError for items on which workers died `TRIES` times.
    """
    import ray
    from ray.cloudpickle import dumps, loads

    _quiet(pool)
    rows = [{"place": place, "item": dumps(item)} for place, item in enumerate(items)]
    blocks = ray.data.from_items(rows, override_num_blocks=ceil(len(rows) / at_once))
    results = blocks.map_batches(
        _Worker,
        batch_size=None,
        fn_constructor_args=(build, ray.remote(num_cpus=0)(_Tally).remote()),
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, blocks.num_blocks())),
        num_cpus=1,
        num_gpus=pool.gpus,
    )
    with _named("at work"):
        for row in results.iter_rows():
            result = loads(row["result"])
            if isinstance(result, _Fault):
                raise result.error
            yield result


def _called(call: Callable[[], T]) -> T:
    return call()


class _Tally:
    """Counts how often each batch of items was started: Ray itself would retry for ever."""

    def __init__(self) -> None:
        self._begun: dict[int, int] = {}

    def begin(self, place: int) -> int:
        self._begun[place] = self._begun.get(place, 0) + 1
        return self._begun[place]


@dataclass(frozen=True, slots=True)
class _Fault:
    """The work's error, returned as a result: raised errors are lost in Ray's wrapping."""

    error: LongvidError


class _Worker:
    """A worker's state: the work, built once."""

    def __init__(self, build: Callable[[], Work[Any, Any]], tally: Any) -> None:  # noqa: ANN401 - a remote _Tally
        self._work = build()
        self._tally = tally

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        from ray.cloudpickle import dumps, loads

        try:
            results = self._results(int(batch["place"][0]), [loads(item) for item in batch["item"]])
        except LongvidError as error:
            results = [_Fault(error)]
        return {"result": [dumps(result) for result in results]}

    def _results(self, place: int, items: Sequence[Any]) -> list[Any]:
        import ray

        if ray.get(self._tally.begin.remote(place)) > TRIES:
            told = ", ".join(str(item) for item in items)
            raise ModelError(f"{TRIES} workers died without a message on one of these: {told}")
        return list(self._work(items))


@contextmanager
def _named(doing: str) -> Iterator[None]:
    """Translate Ray's errors: re-raise the one that the work raised, or report that workers died."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        # Ray raises a mixture of its error and ours, whose text is a traceback; ours is its cause.
        causes = (cause for cause in _causes(error) if not isinstance(cause, RayError))
        ours = next((cause for cause in causes if isinstance(cause, LongvidError)), None)
        if ours is not None:
            raise ours from error
        raise ModelError(f"a Ray worker failed, {doing}: {' '.join(str(error).split())[-400:]}") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, as kept by Ray and by Python."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = getattr(at, "cause", None) or at.__cause__


def _check_gpus(pool: Pool, found: float) -> None:
    if pool.gpus * pool.workers > found:
        raise ModelError(
            f"{pool.workers} workers on {pool.gpus:g} GPUs each need more than the {found:g} of this machine"
        )


def _quiet(pool: Pool) -> None:
    """Silence Ray Data's progress bars and start-up lines: the commands show their own.

    Its warnings are shown on an existing cluster, which may lack resources.
    """
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING if pool.address else logging.ERROR)
