"""vLLM's server on this machine, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.baselines.llm.vllm.conftest import DTYPE

START_SECONDS = 900


class VllmServer:
    """One vLLM server's process group on loopback; `start` again after `kill` keeps the port.

    It is what `vllm serve` starts. That command itself fails in the CPU build, which looks its own version up under
    the other package's name.
    """

    def __init__(self, folder: Path, name: str, context: int, *more: str) -> None:
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
        command += ["--served-model-name", name, "--max-model-len", str(context), *more]
        self._command = [*command, "--dtype", DTYPE, "--enforce-eager", "--host", "127.0.0.1"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.start()

    def start(self) -> None:
        quiet = {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_NO_USAGE_STATS": "1"}
        command = [*self._command, "--port", str(self.port)]
        self.process = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                    return
            except (URLError, OSError):
                time.sleep(1)
        raise AssertionError(f"vLLM's server ended ({self.process.poll()}) or did not start in {START_SECONDS} s")

    def kill(self) -> None:
        with suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(folder: Path, name: str, context: int, *more: str) -> Iterator[VllmServer]:
    """A server that answers, until the end of the block."""
    started = VllmServer(folder, name, context, *more)
    try:
        started.wait()
        yield started
    finally:
        started.kill()
