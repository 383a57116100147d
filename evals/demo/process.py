"""A command of longvid in a process of its own, forked from one that has imported all that is slow to import."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

SLOW_TO_IMPORT = (
    "baselines.build_aggregator",
    "encoders.build",
    "encoders.v2t.task_model",
    "evals.run_verb",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def start_command(arguments: Sequence[str], log: Path, threads: int) -> ForkServerProcess:
    """Start `longvid ARGUMENTS`, what it says going to `log`. All commands get the threads of the first."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(SLOW_TO_IMPORT))
    process = forks.Process(target=_carry_out, args=(tuple(arguments), log))
    with process_environment(threads):
        process.start()
    return process


def _carry_out(arguments: Sequence[str], log: Path) -> None:
    with log.open("wb") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["longvid", *arguments]
    from evals.cli import main

    main()


@contextmanager
def process_environment(threads: int) -> Generator[None, None, None]:
    """Within it, a process that is started gets so many threads; settings of the user's own stay."""
    ours = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, str(threads)))
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
