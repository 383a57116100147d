"""The faulty server as a process: started, told how to fail, asked what it saw, killed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parents[3]


class FaultyServer:
    """One server process; `restart` keeps its port."""

    def __init__(self, *, chat_only: bool = False, key: str | None = None) -> None:
        self._words = ["chat-only"] if chat_only else []
        self._environment = {**os.environ, **({"TOY_KEY": key} if key else {})}
        self.port = 0
        self.since = 0
        self.restart()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def restart(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.baselines.llm.faulty_server", str(self.port), *self._words],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def script(self, faults: Sequence[str], match: str = "", **options: object) -> None:
        self._ask("/script", {"match": match, "faults": list(faults), "options": options})

    def log(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._ask("/log")["log"]
        return rows

    def most_busy(self) -> int:
        return int(self._ask("/log")["most_busy"])

    def _ask(self, path: str, body: object = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", data=data), timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
            return found


@contextmanager
def faulty_server(*, chat_only: bool = False, key: str | None = None) -> Iterator[FaultyServer]:
    """A server for the duration."""
    server = FaultyServer(chat_only=chat_only, key=key)
    try:
        yield server
    finally:
        server.kill()
