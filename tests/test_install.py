"""What `make` installs, with a stand-in for Python that only says what it was asked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.request import urlopen

import pytest

from evals.cli import EXTRAS
from evals.store import read_results
from tests.test_docs import blocks_of, quick_start

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = """#!/bin/sh
echo "ran $*"
case "$*" in
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *urlopen*) exit "$UNREACHABLE" ;;
    *--index-url*) exit "$INDEX_FAILS" ;;
esac
"""


def set_up(folder: Path, index: str, *, unreachable: int = 0, index_fails: int = 0) -> list[str]:
    """The lines that setting up prints."""
    python = folder / "python"
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", f"PYTHON={python}", f"VENV={folder}/venv", f"TORCH_INDEX={index}", f"{folder}/venv/.installed"],
        cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, "UNREACHABLE": str(unreachable), "INDEX_FAILS": str(index_fails)},
    )  # fmt: skip
    return done.stdout.splitlines()


def line_of(lines: list[str], words: str) -> int:
    return next(number for number, line in enumerate(lines) if words in line)


def test_without_a_gpu_torch_comes_from_the_index_for_cpus_before_all_else(tmp_path: Path) -> None:
    lines = set_up(tmp_path, "https://index.invalid/cpu")
    from_index = line_of(lines, "--index-url https://index.invalid/cpu torch torchvision torchcodec")
    assert line_of(lines, "PyTorch for CPUs, without CUDA") < from_index < line_of(lines, "-e .[all,dev]")
    assert not any("with CUDA" in line for line in lines)


@pytest.mark.parametrize(
    ("index", "unreachable", "index_fails"),
    [("", 0, 0), ("https://index.invalid/cpu", 1, 0), ("https://index.invalid/cpu", 0, 1)],
)
def test_seven_gigabytes_are_told_before_they_are_downloaded(
    index: str, unreachable: int, index_fails: int, tmp_path: Path
) -> None:
    lines = set_up(tmp_path, index, unreachable=unreachable, index_fails=index_fails)
    assert line_of(lines, "with CUDA") < line_of(lines, "-e .[all,dev]")
    assert "7 GB" in lines[line_of(lines, "with CUDA")]


def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def test_vllm_is_an_extra_of_its_own_that_no_other_brings() -> None:
    bringing = [name for name, packages in extras().items() if any(p.startswith("vllm") for p in packages)]
    assert bringing == ["vllm"]


def test_a_minimal_install_brings_no_torch() -> None:
    heavy = ("torch", "transformers", "open_clip", "av", "ray", "vllm", "longvid")
    assert not [package for package in extras()[""] if package.startswith(heavy)]


def test_all_names_every_extra_but_vllm_wandb_and_those_of_developers() -> None:
    (everything,) = extras()["all"]
    named = set(everything.removeprefix("longvid[").removesuffix("]").split(","))
    assert named == set(extras()) - {"", "all", "vllm", "wandb", "peers", "docs", "dev"}


MINIMAL = """
import sys
from importlib.machinery import PathFinder
blocked, found = set(sys.argv[1].split(",")), PathFinder.find_spec
def find(name, path=None, target=None):
    return None if name.partition(".")[0] in blocked else found(name, path, target)
PathFinder.find_spec = find
from evals.cli import app
for words in sys.argv[2:]:
    app(words.split("|"), standalone_mode=False)
assert not blocked & set(sys.modules)
"""


@pytest.mark.slow
def test_records_are_imported_scored_shown_and_compared_without_any_extra(shared_data: Path, tmp_path: Path) -> None:
    predictions = shared_data / "predictions"
    commands = (
        f"import|egoschema|{predictions}/egoschema_vamos_gpt4o_submission.csv|--name|vamos|--out|runs/vamos",
        f"import|egoschema|{predictions}/egoschema_akeys_gpt4o.json|--name|akeys|--out|runs/akeys",
        "score|runs/vamos",
        "report|runs/vamos|runs/akeys",
        "report|runs/vamos|--format|html",
        "compare|runs/vamos|runs/akeys|--allow-mismatch",
        "leaderboard|runs|-o|leaderboard.json",
    )
    environment = {**os.environ, "LONGVID_DATA": str(shared_data), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MINIMAL, ",".join(EXTRAS), *commands],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "57.2 %" in done.stdout
    assert "akeys does better than vamos" in " ".join(done.stdout.split())
    assert (tmp_path / "runs" / "vamos" / "report.html").stat().st_size > 100_000
    assert (tmp_path / "leaderboard.json").is_file()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files in a folder of their own, as a clone has them."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: what a clone holds is not known")
    folder = tmp_path_factory.mktemp("clone")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


INSTALL = next(block for block in blocks_of(ROOT / "README.md") if block.text.startswith("pip install ."))
LINES = [line for line in INSTALL.text.splitlines() if line.strip()]
FOR_CPUS = re.compile(r"`(pip install torch torchvision --index-url (\S+))`")
INSTALL_SECONDS, START_SECONDS = 1500, 300
"""The longest that a line of pip may take, which can fetch 4 GB and unpack 7, and the longest of a quick start."""


def first_lines() -> list[str]:
    """What the README's table has a machine without a GPU do first, where the index of CPU builds can be reached."""
    ((line, index),) = FOR_CPUS.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    if shutil.which("nvidia-smi"):
        return []
    try:
        with urlopen(f"{index}/torch/", timeout=10):
            return [line]
    except OSError:
        return []  # the default builds run on a CPU as well


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "starts"), [(LINES[:1], ["My model"]), (LINES, ["My model", "My videos"])], ids=["minimal", "all"]
)
def test_quick_starts_run_word_for_word_on_an_empty_machine(
    clone: Path, shared_data: Path, tmp_path: Path, lines: list[str], starts: list[str]
) -> None:
    environment, home, place = (tmp_path / name for name in ("environment", "home", "place"))
    home.mkdir()
    place.mkdir()
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "SSL_"))}
    path = os.pathsep.join([str(environment / "bin"), "/usr/bin", "/bin"])
    # The machine is empty but for what pip has fetched before: without it each run would download 4 GB again.
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=False)
    variables = {"PIP_CACHE_DIR": cache.stdout.strip(), **kept, "HOME": str(home), "PATH": path}
    variables |= {"LONGVID_DATA": str(shared_data)}

    def run(words: list[str], folder: Path, seconds: float) -> str:
        started = subprocess.Popen(
            words, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            said, complained = started.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)  # what the line started as well
            pytest.fail(f"not done in {seconds:.0f} s: {words[-1]}")
        assert started.returncode == 0, f"{words}\n{said[-2000:]}\n{complained[-2000:]}"
        return said

    for line in (first_lines() if len(lines) > 1 else []) + lines:
        run(["bash", "-ec", line], clone, INSTALL_SECONDS)
    shutil.copy(shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv", place / "pancake.mkv")
    for title in starts:
        block = quick_start(title)
        said = run(["python" if block.language == "python" else "bash", "-c", block.text], place, START_SECONDS)
        assert said.strip()
    assert read_results(place / "runs" / "mine").counts.answered == 20
