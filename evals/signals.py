"""Handle signals that end a program from its start on like Ctrl-C: one line, and exit code 130."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
# The signals of job schedulers, closed terminals and service managers; Windows has no SIGHUP.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_quietly_while_loading() -> None:
    """End the process with one line if it is interrupted before there is anything to keep.

    For the first lines of a program, before its long imports, during which Python itself would print a traceback or end
    without a message.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal.signal calls it
        os.write(2, b"error: interrupted before anything was done\n")
        os._exit(INTERRUPTED)

    for number in (signal.SIGINT, *ENDING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Within this context, signals that end the program raise KeyboardInterrupt in the main thread.

    Ignored signals stay ignored (`nohup`), and in a forked process they have their default effect. After the first one,
    further signals other than Ctrl-C are ignored, because the results are being written.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal.signal calls it
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        for other in ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    mine = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in mine:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else interrupt)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number] or signal.SIG_DFL)


def is_unhandled_interrupt(end: BaseException) -> bool:
    """Whether an exit was caused by a KeyboardInterrupt that has not been reported yet."""
    error = end.__context__
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is not None


def start() -> None:
    """Entry point of the installed `longvid`: handles signals before the command line's long imports."""
    end_quietly_while_loading()
    from evals.cli import main

    main()
