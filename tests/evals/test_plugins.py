"""A stranger's benchmark and model go all the way through without a file of this repository being touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evals.store import read_results, read_run
from tasks import registry
from tasks.errors import DataError, ModelError
from tasks.registry import PLUGINS, System, add_plugins, benchmarks, find_model, import_plugin, models
from tests.evals.conftest import ROOT, assert_one_line, longvid

COLOURS = ROOT / "tests" / "plugin" / "colours.py"
BLUE = f"{COLOURS}:Blue"
PLUGIN = ("--plugin", COLOURS)


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    done = longvid(*PLUGIN, "colours", "run", "--model", BLUE, "--out", tmp_path / "blue")
    assert done.returncode == 0, done.stderr
    return tmp_path / "blue"


def test_a_plugin_that_declares_nothing_is_refused_with_how_its_class_is_named(tmp_path: Path) -> None:
    plugin = tmp_path / "own.py"
    plugin.write_text("class Letter:\n    def generate(self, requests):\n        return ['A' for _ in requests]\n")
    assert_one_line(longvid("--plugin", plugin, "models"), "declares no model", f"-m {plugin}:Letter")


def test_the_stranger_s_file_is_short() -> None:
    assert len(COLOURS.read_text(encoding="utf-8").splitlines()) <= 60


def test_a_run_of_both_is_scored_beside_its_floors(run: Path) -> None:
    results = read_results(run)
    assert results.primary.value == 0.25
    assert {floor.model for floor in results.floors} >= {"chance"}
    assert read_run(run).model.system == System.TEXT


def test_the_record_names_the_class_and_the_digest_of_its_source(run: Path) -> None:
    model = read_run(run).model
    assert model.name == "colours.py:Blue"
    assert len(str(model.details["source_sha256"])) == 64


def test_every_verb_takes_them(run: Path, tmp_path: Path) -> None:
    (tmp_path / "choices.json").write_text(json.dumps({f"q{n:02d}": n % 4 for n in range(12)}))
    imported = longvid(
        *PLUGIN, "colours", "import", tmp_path / "choices.json", "--name", "all right", "--out", tmp_path / "ok"
    )
    assert imported.returncode == 0, imported.stderr
    assert read_results(tmp_path / "ok").primary.value == 1.0
    for arguments in (
        ("colours", "score", run),
        ("colours", "report", run),
        ("colours", "report", run, "--format", "html", "--out", tmp_path / "page.html"),
        ("compare", run, tmp_path / "ok", "--allow-mismatch"),
        ("leaderboard", tmp_path, "-o", tmp_path / "board.html"),
    ):
        done = longvid(*PLUGIN, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    assert "Which colour is the ball?" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "colours@12" in (tmp_path / "board.html").read_text(encoding="utf-8")


def test_options_of_a_class_are_its_constructor_s_parameters(tmp_path: Path) -> None:
    done = longvid(*PLUGIN, "colours", "run", "--model", BLUE, "-M", "word=red", "--out", tmp_path / "red")
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "red").model.options == {"word": "red"}
    assert_one_line(longvid(*PLUGIN, "colours", "run", "--model", BLUE, "-M", "wort=red"), "did you mean 'word'")


def test_a_model_s_options_are_listed_with_what_it_is() -> None:
    done = longvid("models", BLUE)
    assert "Always says blue, in words." in done.stdout
    assert "word" in done.stdout


def test_an_installed_package_s_entry_points_are_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "colours_plugin-1.0.dist-info").mkdir(parents=True)
    (site / "colours.py").write_text(COLOURS.read_text(encoding="utf-8"))
    (site / "colours_plugin-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: colours-plugin\nVersion: 1.0\n"
    )
    (site / "colours_plugin-1.0.dist-info" / "entry_points.txt").write_text(
        "[longvid.benchmarks]\ncolours = colours:BENCHMARK\n\n[longvid.models]\nblue = colours:Blue\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "evals.cli", "colours", "run", "--model", "blue", "--out", str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read_run(tmp_path / "run").model.name == "blue"


def faulty(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plugin_that_fails_to_import_is_one_line_naming_it(tmp_path: Path) -> None:
    path = faulty(tmp_path / "broken.py", "import does_not_exist\n")
    assert_one_line(longvid("--plugin", path, "models"), "broken.py", "does_not_exist")


def test_two_plugins_with_one_name_are_one_line_naming_both(tmp_path: Path) -> None:
    text = "from tasks.registry import Benchmark\nMINE = Benchmark('egoschema', 'Mine', ('1',), print)\n"
    add_plugins([str(faulty(tmp_path / "mine.py", text))])
    with pytest.raises(DataError, match=r"'egoschema' is declared twice .*longvid.*mine\.py"):
        benchmarks()


def test_a_class_without_any_capability_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = faulty(tmp_path / "none.py", "class Nothing:\n    pass\n")
    with pytest.raises(ModelError, match=r"none\.py:Nothing has none of the methods .*generate"):
        find_model(f"{path}:Nothing")


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("no/such/file.py:Mine", "there is no file no/such/file.py"),
        ("no_such_module:Mine", "no_such_module"),
        (f"{COLOURS}:Blew", "has no Blew, did you mean 'Blue'"),
        (f"{COLOURS}:COLOURS", "is not a class but a tuple"),
    ],
)
def test_a_class_that_is_not_there_is_refused_by_name(spec: str, named: str) -> None:
    with pytest.raises(ModelError, match=named):
        find_model(spec)


def test_a_fault_of_one_plugin_hides_no_other_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(PLUGINS, str(faulty(tmp_path / "broken.py", "1 / 0\n")))
    found = models()
    assert "blind" in found.entries
    assert any("ZeroDivisionError" in fault for fault in found.faults)


def test_every_model_and_benchmark_says_what_it_is() -> None:
    for entry in models().entries.values():
        assert entry.summary
        assert entry.families
        assert entry.system != System.UNKNOWN
        assert entry.source.startswith("longvid")
    for benchmark in benchmarks().entries.values():
        assert benchmark.title
        assert benchmark.pools


def test_a_file_is_imported_once() -> None:
    assert import_plugin(str(COLOURS)) is import_plugin(str(COLOURS))
    assert registry.capabilities_of(import_plugin(str(COLOURS)).Blue) == ("TextGenerator",)


GROUNDING = ROOT / "tests" / "plugin" / "grounding.py"


@pytest.fixture
def grounded(tmp_path: Path) -> Path:
    """Two runs of a family that a plugin declares: one of a model, one of imported replies."""
    plugin = ("--plugin", GROUNDING)
    done = longvid(*plugin, "run", "moments", "-m", f"{GROUNDING}:Early", "-o", tmp_path / "early")
    assert done.returncode == 0, done.stderr
    (tmp_path / "replies.json").write_text(json.dumps({f"m{n}": f"{5 * n} to {5 * n + 10}" for n in range(8)}))
    done = longvid(*plugin, "moments", "import", tmp_path / "replies.json", "--name", "right", "-o", tmp_path / "right")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_family_of_a_plugin_scores_runs_and_imported_replies_beside_its_floor(grounded: Path) -> None:
    early, right = read_results(grounded / "early"), read_results(grounded / "right")
    # 0–10 s against 5n to 5n + 10: whole, 5 of 15 seconds, and nothing.
    assert early.primary.value == pytest.approx((1 + 1 / 3) / 8)
    assert right.primary.value == 1.0
    assert {floor.model: floor.metric.value for floor in early.floors} == {"whole clip": pytest.approx(1 / 6)}


def test_a_family_of_a_plugin_goes_to_table_page_comparison_and_leaderboard(grounded: Path) -> None:
    plugin = ("--plugin", GROUNDING)
    said = {}
    for name, arguments in {
        "score": ("score", grounded / "early"),
        "table": ("report", grounded / "early", grounded / "right", "--format", "markdown"),
        "page": ("report", grounded / "early", "--format", "html", "--out", grounded / "page.html"),
        "compare": ("compare", grounded / "early", grounded / "right", "--allow-mismatch"),
        "leaderboard": ("leaderboard", grounded, "--format", "markdown"),
    }.items():
        done = longvid(*plugin, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        said[name] = done.stdout
    page = (grounded / "page.html").read_text(encoding="utf-8")
    assert "mean seconds off" in said["table"]
    assert "17.50 s" in said["table"]
    assert "the difference in mean iou is +83.3 points" in " ".join(said["compare"].split())
    assert "17.50 s" in said["leaderboard"]
    for told in ("bell 3", "15 to 25 s", "From 0 to 10 s.", "intersection over union"):
        assert told in page


def test_without_its_plugin_a_family_s_record_is_still_read(grounded: Path) -> None:
    done = longvid("runs", grounded)
    assert done.returncode == 0, done.stderr
    assert "moments@8" in done.stdout


def test_two_families_of_one_name_are_refused(run: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.py"
    twice.write_text("from tasks.family import Family\nFAMILY = Family(name='retrieval', needs_blind=True)\n")
    assert_one_line(
        longvid(*PLUGIN, "--plugin", twice, "report", run), "'retrieval' is declared twice in longvid.families"
    )
