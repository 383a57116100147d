"""Signals that end a program, from its first moment on: as Ctrl-C does, with one line, and with exit code 130."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
# What a job scheduler, a closed terminal or a service manager sends; Windows has no hang-up.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_quietly_while_loading() -> None:
    """End the process with one line when it is interrupted before there is anything to keep.

    For the first lines of a program, before its long imports: Python itself would print a traceback out of one of
    them, or die without a word.
    """

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signal.signal calls it
        os.write(2, b"error: interrupted before anything was done\n")
        os._exit(INTERRUPTED)

    for number in (signal.SIGINT, *ENDING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Within it, signals that end the program raise KeyboardInterrupt in the main thread.

    Signals that are ignored stay so (`nohup`), and in a forked process they do what they do anywhere. After the first
    one, more of those that are not Ctrl-C are passed over: the results are being written.
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
    """Whether an exit goes back to a KeyboardInterrupt that nobody has reported yet."""
    error = end.__context__
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error is not None


def start() -> None:
    """What the installed `longvid` runs: signals are seen to before the command line's own long imports."""
    end_quietly_while_loading()
    from evals.cli import main

    main()
