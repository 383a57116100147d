"""The README and docs/: what they say can be typed, links lead somewhere, and what follows from the code is current.

A block of commands or Python runs as it stands unless a line above it begins with "Needs:"; then its commands are only
held against what there is. A block with a title is a file of that name.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from evals.store import read_results
from tasks.multiple_choice import ChoiceItem
from tasks.task import Clip
from tests.baselines.llm.server_process import faulty_server
from tests.command_lines import assert_makes_sense, assert_parses
from tests.evals.conftest import longvid
from tests.needs import needs_smollm2

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DATA_FILE = re.compile(r"[\w./-]+\.(?:csv|json|jsonl|mkv|npy|npz|parquet|safetensors)\b")
LANGUAGES = {"sh", "python", "toml", "json", "text", "bibtex"}
OTHER_PROGRAMS = {"apt-get", "cd", "curl", "git", "kill", "python", "vllm", "wait"}
"""Programs that blocks with needs may name beside longvid, make, pip and pytest."""
TESTED_ELSEWHERE = {"doctor": "tests/evals/doctor", "bench sizing": "tests/lab/bench/test_sizing.py"}
"""Commands that take long and are run by tests of their own; here they are only held against what there is."""
README_WORDS, README_LINES, QUICK_START_LINES = 1_500, 170, 5


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file that it is (or none), what it needs (or nothing), its lines."""

    language: str
    title: str
    needs: str
    text: str

    def lines(self) -> list[str]:
        """The lines, each with what goes on in the next."""
        return self.text.replace("\\\n", " ").splitlines()

    def commands(self) -> Iterator[list[str]]:
        """The words of each command, without comments."""
        for line in self.lines():
            if words := shlex.split(line, comments=True):
                yield [word for word in words if word != "&"]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        paragraph = text[: match.start()].rstrip().rpartition("\n\n")[2]
        needs = paragraph.strip("*") if paragraph.startswith(("Needs:", "*Needs:")) else ""
        found.append(Block(match[1], match[2] or "", needs, match[3]))
    return tuple(found)


def without_blocks(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def has_commands(page: Path) -> bool:
    return any(block.language in ("sh", "python") for block in blocks_of(page))


def lay_out(page: Path, folder: Path, shared_data: Path) -> None:
    """What a page takes for granted: a video of the reader's, a clone, and the files that its titled blocks are."""
    pancake = shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv"
    for place in ("pancake.mkv", "videos/pancake.mkv", "mine/videos/pancake.mkv"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pancake, folder / place)
    for part in ("tests", "studies", "docs"):
        (folder / part).symlink_to(ROOT / part)
    for block in blocks_of(page):
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")


@pytest.fixture
def scratch(request: pytest.FixtureRequest, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine's folder, with the page's files in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LONGVID_DATA", str(shared_data))
    monkeypatch.setenv("LONGVID_PLUGINS", "")
    lay_out(request.node.callspec.params["page"], tmp_path, shared_data)
    return tmp_path


def run_command(words: list[str]) -> str:
    """Run a command line, which must end well; what it said."""
    if words[:2] == ["python", "-c"]:
        return run_python(words[2], "-c", {})
    assert words[0] == "longvid", f"a block without 'Needs:' runs longvid alone, not {words[0]}"
    if any(" ".join(words[1:]).startswith(command) for command in TESTED_ELSEWHERE):
        return ""
    done = longvid(*words[1:])
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr or done.stdout}"
    return done.stdout


def run_python(text: str, name: str, names: dict[str, object]) -> str:
    """Run a program; what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(text, name, "exec"), names)
    return printed.getvalue()


def run_page(page: Path) -> dict[str, str]:
    """Run the blocks that need nothing, in order, and hold the others against what there is; what each said."""
    names: dict[str, object] = {"__name__": "page"}
    said = {}
    for block in blocks_of(page):
        if block.language == "python" and not block.needs:
            said[block.text] = run_python(block.text, block.title or name_of(page), names)
        elif block.language == "sh":
            for words in block.commands():
                assert_makes_sense(words, OTHER_PROGRAMS if block.needs else {"python"})
                if not block.needs:
                    said[shlex.join(words)] = run_command(words)
    return said


@pytest.fixture
def own_modules(scratch: Path) -> Iterator[None]:
    """Forgets the modules that a page's files were imported as."""
    yield
    own = [name for name, module in sys.modules.items() if str(scratch) in str(getattr(module, "__file__", ""))]
    for name in own:
        del sys.modules[name]


@needs_smollm2
@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("page", [page for page in PAGES if has_commands(page)], ids=name_of)
def test_a_page_s_blocks_run_as_they_stand_unless_they_say_what_they_need(page: Path) -> None:
    said = run_page(page)
    if page == DOCS / "your-benchmark.md":
        assert "Nothing found that spoils figures of mine@all" in said["longvid audit mine"]
        assert read_results(Path("runs/mine-chance")).primary.name == "accuracy_by_kind"
        assert read_results(Path("runs/mine-order")).task.name == "mine@order"
        assert read_results(Path("runs/elsewhere")).primary.value == 1.0
        assert Path("runs/mine-chance/report.html").is_file()
        assert any(
            "What is flipped?" in output for line, output in said.items() if line.startswith("longvid ask mine/")
        )
    elif page in (ROOT / "README.md", DOCS / "index.md"):
        assert read_results(Path("runs/mine")).counts.answered == 20


@pytest.mark.parametrize("tests", TESTED_ELSEWHERE.values())
def test_the_tests_of_commands_that_take_long_are_there(tests: str) -> None:
    assert (ROOT / tests).exists()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_its_language(page: Path) -> None:
    assert {block.language for block in blocks_of(page)} <= LANGUAGES
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks_of(page))


@pytest.mark.parametrize("page", [page for page in PAGES if has_commands(page)], ids=name_of)
def test_commands_within_sentences_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LONGVID_PLUGINS", "")
    for said in re.findall(r"`((?:longvid|make|pytest) [^`]+)`", without_blocks(page)):
        assert_makes_sense(shlex.split(said), set(), is_sketch=True)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_a_page_opens_with_what_it_is_for_and_a_command(page: Path) -> None:
    opening = page.read_text(encoding="utf-8").partition("\n## ")[0]
    assert re.search(r"^# .+\n\nThis page is for ", opening, re.MULTILINE)
    assert any(match[1] in ("sh", "python") for match in FENCE.finditer(opening))


@pytest.mark.parametrize("page", [page for page in PAGES if has_commands(page)], ids=name_of)
def test_every_file_that_a_command_reads_is_named_outside_the_blocks_or_made_on_the_page(page: Path) -> None:
    explained = set(re.findall(r"`([^`\n]+)`", without_blocks(page)))
    explained |= {block.title for block in blocks_of(page)}
    unexplained = []
    for block in blocks_of(page):
        for words in block.commands() if block.language == "sh" else ():
            made = {after for word, after in pairwise(words) if word in ("-o", "--out", "--json", "--plot")}
            explained |= made
            named = {name for word in words for name in DATA_FILE.findall(word)}
            unexplained += sorted(named - explained)
    assert not unexplained


def written(block: Block) -> Iterator[tuple[str, str]]:
    """Each place that a block writes to, with what is written there."""
    for words in block.commands() if block.language == "sh" else ():
        kept = [word for word in words if word != "--resume"]
        yield from ((after, shlex.join(kept)) for word, after in pairwise(words) if word in ("-o", "--out"))
    if block.language == "python":
        yield from ((place, call) for call, place in re.findall(r'evaluate\((.+?out="([^"]+)".*?)\)', block.text))


def test_no_place_is_written_to_by_two_commands_so_that_all_pages_can_be_followed_in_one_folder() -> None:
    first: dict[str, str] = {}
    twice = []
    for page in PAGES:
        for block in blocks_of(page):
            for place, what in written(block):
                if first.setdefault(place, what) != what:
                    twice.append(f"{place}: {first[place]} | {what}")
    assert not twice
    runs = [Path(place) for place in first if place.startswith("runs/")]
    assert not [(inner, outer) for inner in runs for outer in runs if outer in inner.parents]


SERVED_BLOCKS = [
    pytest.param(block, id=f"{name_of(page)}: {line}")
    for page in PAGES
    for block in blocks_of(page)
    for line in block.lines()
    if line.endswith("&")
]


def test_the_pages_have_blocks_that_start_a_server() -> None:
    assert len(SERVED_BLOCKS) >= 6


@pytest.mark.parametrize("block", SERVED_BLOCKS)
def test_a_block_that_starts_a_server_waits_for_it_before_it_asks(block: Block) -> None:
    lines = block.lines()
    start = next(at for at, line in enumerate(lines) if line.endswith("&"))
    first = next(shlex.split(line, comments=True) for line in lines[start + 1 :] if "127.0.0.1" in line)
    assert first[0] == "curl", "the server loads for minutes and refuses connections meanwhile"
    assert {"--retry", "--retry-connrefused", "http://127.0.0.1:8000/health"} <= set(first)


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and the site make them alike."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if re.match(r"\w+://", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert not broken


def test_the_site_s_navigation_has_every_page() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/-]+\.md", str(settings["nav"])))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "models.md", "benchmarks.md", "python-api.md"])
def test_a_page_that_follows_from_the_code_is_current(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGVID_PLUGINS", "")
    written = generator().PAGES[name]()
    assert (DOCS / name).read_text(encoding="utf-8") == written, "run: python docs/generate.py"


def test_the_generated_pages_name_every_command_model_and_public_name() -> None:
    import longvid as door
    from evals.cli import added_commands
    from tasks.registry import models

    cli, listed, python = (
        (DOCS / name).read_text(encoding="utf-8") for name in ("cli.md", "models.md", "python-api.md")
    )
    assert all(f"### longvid {entry.name}\n" in cli for entry in added_commands() if not entry.forwards)
    assert all(f"| `{name}` |" in listed for name in models().entries)
    assert all(f"### longvid.{name}\n" in python for name in door.__all__)


# --- The README -----------------------------------------------------------------------------------------


@cache
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len(readme().split()) <= README_WORDS
    assert len(readme().splitlines()) <= README_LINES


def test_the_readme_has_four_quick_starts_of_a_few_lines() -> None:
    section = readme().partition("\n## Quick starts\n")[2].partition("\n## ")[0]
    starts = re.findall(r"^### .+?(?=^### |\Z)", section, re.DOTALL | re.MULTILINE)
    lengths = [
        sum(len([line for line in match[3].splitlines() if line.strip()]) for match in FENCE.finditer(start))
        for start in starts
    ]
    assert len(lengths) == 4
    assert max(lengths) <= QUICK_START_LINES


def quick_start(title: str) -> Block:
    section = readme().partition(f"\n### {title}\n")[2]
    match = next(FENCE.finditer(section))
    return Block(match[1], "", "", match[3])


def test_the_demo_s_quick_start_runs_the_demo() -> None:
    ((program, target),) = quick_start("The demo").commands()
    done = subprocess.run(
        [program, "--no-print-directory", "-n", "-o", ".venv/.installed", target],
        cwd=ROOT,
        # `make test` hands its own flags and level down, and a second make says more by them.
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stdout.strip().splitlines()
    assert line.startswith(".venv/bin/longvid demo ")
    assert_parses(shlex.split(line)[1:])


@pytest.mark.slow
def test_the_quick_start_of_a_served_model_runs_on_a_stand_in_for_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.kitchen.files import generate

    assert list(generate(tmp_path / "data" / "kitchen" / "test", range(1)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LONGVID_DATA", "data")
    (words,) = [words for words in quick_start("A served video language model").commands() if words[1] == "run"]
    with faulty_server(chat_only=True) as server:
        served = " ".join(words).replace("http://127.0.0.1:8000/v1", server.base_url)
        done = longvid(*re.sub(r"Qwen/[\w.-]+", "toy", served).split()[1:], "--limit", 5, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert read_results(Path("run")).counts.answered == 5


def test_the_picture_shows_frames_the_question_and_what_each_system_chose(shared_data: Path, tmp_path: Path) -> None:
    from PIL import Image

    clip = Clip("pancake", 0.0, 10.0, shared_data / "videos" / "natural" / "flipping_a_pancake_10s.mkv")
    item = ChoiceItem("q", "pancake", clip, "What is flipped?", ("an egg", "a pancake"), 1)
    drawn = {}
    for chosen in (0, 1):
        generator().draw(item, {"one": 1, "other": chosen}, (1.0, 5.0), tmp_path / f"{chosen}.png")
        with Image.open(tmp_path / f"{chosen}.png") as picture:
            drawn[chosen] = picture.convert("RGB").tobytes()
    assert len(set(drawn[0])) > 50
    assert drawn[0] != drawn[1]


def test_every_figure_of_the_readme_stands_in_the_results() -> None:
    results = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "results").glob("*.md"))
    figures = re.findall(r"\d+\.\d+ %(?: \([\d.]+–[\d.]+\))?", readme())
    assert len(figures) >= 6
    assert [figure for figure in figures if figure not in results] == []


FIGURE = re.compile(r"(\d+\.\d %)(?: \| | \()([\d.]+–[\d.]+)")
SECONDS = re.compile(r"\| ([\d.]+)(?: \+ 0\.01 for captions)? \|(?: \d+M \|)?$")
"""The first accuracy with its interval in a table's row, and the seconds in its last column or the last but one."""


def seconds_by_figure(page: Path) -> dict[str, str]:
    """The seconds of a question by the figure that they stand beside, in the rows of a page's tables."""
    rows = [(FIGURE.search(line), SECONDS.search(line)) for line in page.read_text(encoding="utf-8").splitlines()]
    return {f"{figure[1]} ({figure[2]})": seconds[1] for figure, seconds in rows if figure and seconds}


@pytest.mark.parametrize(("page", "at_least"), [(ROOT / "README.md", 5), (DOCS / "results" / "cost.md", 5)], ids=str)
def test_seconds_on_kitchen_are_the_same_on_every_page(page: Path, at_least: int) -> None:
    measured = seconds_by_figure(DOCS / "results" / "kitchen.md")
    told = {figure: seconds for figure, seconds in seconds_by_figure(page).items() if figure in measured}
    assert len(told) >= at_least
    assert told == {figure: measured[figure] for figure in told}


def test_pictures_are_small_and_the_masking_plot_is_the_study_s() -> None:
    assert all(picture.stat().st_size < 200_000 for picture in (DOCS / "assets").iterdir())
    assert (DOCS / "assets" / "masking.png").read_bytes() == (ROOT / "studies" / "masking" / "scatter.png").read_bytes()


def test_citation_changelog_and_package_have_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2312.07395"
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
