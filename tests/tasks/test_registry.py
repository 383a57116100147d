"""Models by name with typed options; a typo is named with the nearest known name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from baselines.floors import ChanceModel, ConstantModel
from baselines.models import AggregatorOptions
from evals import console
from evals.listing import models as list_models
from evals.store import RUN, write_row, write_sealed
from tasks.errors import DataError, ModelError
from tasks.registry import (
    Benchmark,
    build_model,
    deciding,
    effective,
    find_benchmark,
    find_model,
    models,
    moved_options,
    option_help,
    parse_options,
    spelled_out,
    typed_options,
)
from tasks.routes import Route
from tests.evals.conftest import ROOT, assert_one_line, longvid
from tests.evals.records import results_of, run_of


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match="unknown model 'agregator', did you mean 'aggregator'"):
        find_model("agregator")


def test_a_model_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(ModelError, match="unknown model 'xyz'; 'longvid models' lists them"):
        find_model("xyz")


def test_options_that_change_no_answer_are_not_part_of_a_run() -> None:
    given = {"llm": "openai:x", "base_url": "http://h/v1", "concurrency": "4", "timeout": "9", "context": "512"}
    assert deciding("blind", given) == {"llm": "openai:x", "context": "512"}
    assert deciding("constant", {"choice": "4"}) == {"choice": "4"}


def test_an_unknown_option_is_refused_with_the_nearest_name_and_all_there_are() -> None:
    with pytest.raises(ModelError, match=r"no option 'choise', did you mean 'choice'\? \(it has: choice\)"):
        typed_options("constant", {"choise": "1"})


@pytest.mark.parametrize("pair", ["choice", "", "=3"])
def test_an_option_that_is_not_key_value_is_refused(pair: str) -> None:
    with pytest.raises(ModelError, match=f"model option '{pair}' is not of the form key=value"):
        parse_options([pair])


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="'choice' is given twice"):
        parse_options(["choice=1", "choice=2"])


def test_a_value_may_hold_equal_signs_or_nothing() -> None:
    assert parse_options(["prompt=a=b", "llm="]) == {"prompt": "a=b", "llm": ""}


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ("constant", {"choice": "two"}, r"option 'choice': .*integer.* \(given: two\)"),
        ("chance", {"seed": "1.5"}, r"option 'seed': .*integer.* \(given: 1\.5\)"),
        ("blind", {"route": "letters"}, r"option 'route': .*letter-logprob.* \(given: letters\)"),
        ("aggregator", {"captions": "x", "segment_seconds": "long"}, r"option 'segment_seconds': .*number"),
        ("aggregator", {"captions": "x", "segment_seconds": "0"}, "segment_seconds must be positive"),
        ("random-paragraph", {}, r"option 'annotations' is required: -M annotations=… \(.+\)"),
        ("aggregator", {}, "give captions=FILE, or captioner=MODEL"),
        ("aggregator", {"captions": "x", "captioner": "coca"}, "give captions=FILE, or captioner=MODEL"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_option_named(
    model: str, options: dict[str, str], named: str
) -> None:
    with pytest.raises(ModelError, match=named):
        typed_options(model, options)


def test_options_get_their_types() -> None:
    options = typed_options("aggregator", {"captions": "a.json", "route": "generate+parse", "segment_seconds": "8"})
    assert options == AggregatorOptions(captions=Path("a.json"), route=Route.GENERATE, segment_seconds=8.0)


def test_a_model_is_built_with_its_options() -> None:
    assert build_model("constant", {"choice": "4"}) == ConstantModel(4)
    assert build_model("chance", {}) == ChanceModel(0)


@pytest.mark.parametrize("name", models().entries)
def test_every_model_lists_its_options_with_their_meaning(name: str) -> None:
    rows = option_help(name)
    assert rows
    assert all(row.name and row.kind and row.help for row in rows)


def test_a_required_option_is_listed_as_such() -> None:
    assert {row.name: row.default for row in option_help("random-paragraph")}["annotations"] == "required"


def test_the_list_names_every_model_with_what_it_is() -> None:
    done = longvid("models")
    assert done.returncode == 0, done.stderr
    for name in models().entries:
        assert name in done.stdout
    assert "smollm2" in done.stdout


@pytest.mark.parametrize("name", ["aggregator", "longvivit-tiny", "vlm"])
def test_a_models_own_list_has_every_option_and_an_example(name: str) -> None:
    done = longvid("models", name)
    assert all(row.name in done.stdout for row in option_help(name))
    assert f"Example: -m {name}" in done.stdout


def test_one_models_options_can_be_asked_for() -> None:
    done = longvid("models", "constant")
    assert "choice" in done.stdout
    assert "captions" not in done.stdout


def test_asking_for_an_unknown_model_is_one_line() -> None:
    assert_one_line(longvid("models", "agregator"), "did you mean 'aggregator'")


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["egoschema", "run", "--help"]], ids=" ".join)
def test_listing_and_help_import_no_torch_and_no_pandas(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evals.cli", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(re.findall(r"\|\s+(\w+)$", done.stderr, re.MULTILINE))
    assert "typer" in imported
    assert not imported & {"torch", "transformers", "pandas", "av", "open_clip", "pooch", "requests"}
    assert not re.search(r"\bevals\.(record|store)$", done.stderr, re.MULTILINE)


HELP_OF_A_GROUP = {
    *("rich.console", "pydantic", "numpy", "pandas", "tasks.answer_parser", "tasks.statistics"),
    *("tasks.captioning", "tasks.retrieval", "tasks.kitchen.world", "tasks.videomme"),
}


def in_a_pipe(code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run a program whose output is read."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    ("code", "left_out"),
    [
        ("sys.argv[1:] = ['--help']; main()", {"rich", "pydantic", "numpy"}),
        ("sys.argv[1:] = ['--version']; main()", {"rich", "pydantic", "numpy"}),
        ("sys.argv[1:] = ['models']; main()", {"rich.console", "pydantic", "numpy", "pandas", "baselines.aggregator"}),
        ("sys.argv[1:] = ['models', 'longvivit-tiny']; main()", {"rich.console", "pydantic", "numpy", "pandas"}),
        ("sys.argv[1:] = ['egoschema', 'report', '--help']; main()", HELP_OF_A_GROUP),
        ("sys.argv[1:] = ['report', '--help']; main()", HELP_OF_A_GROUP),
        ("sys.argv[1:] = ['kitchen-qa', 'run', '--help']; main()", {"rich.console", "pydantic", "pandas"}),
        ("import longvid", {"rich", "typer", "pydantic", "numpy", "pandas"}),
    ],
    ids=["help", "version", "models", "one model", "group", "verb", "made benchmark", "import longvid"],
)
def test_starting_up_loads_nothing_that_takes_long(code: str, left_out: set[str]) -> None:
    first = "import sys, atexit; atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr)); "
    imports = "" if code.startswith("import") else "from evals.cli import main; "
    done = in_a_pipe(first + imports + code)
    assert not set(done.stderr.splitlines()) & (left_out | {"torch", "transformers", "av"})


def test_a_report_of_a_record_loads_no_arrays_and_nothing_that_draws(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "run"  # the folders beside a run are searched for a blind one
    folder.mkdir(parents=True)
    write_row(folder / RUN, run_of("run"))
    write_sealed(folder, results_of("run"))
    code = (
        "import sys; from pathlib import Path; from evals.benchmark_app import show_results; "
        "from evals.store import read_results; folder = Path(sys.argv[1]); "
        "show_results([folder], [read_results(folder)]); print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = in_a_pipe(code, folder)
    assert "50.0 %" in done.stdout
    assert not set(done.stderr.splitlines()) & {"numpy", "pandas", "rich.console", "tasks.statistics"}


def test_a_report_of_a_run_of_ones_own_folder_loads_no_arrays_and_no_other_benchmark(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    row = {"video": "a.mp4", "end": 9, "question": "What?", "options": ["This", "That"], "answer": 1}
    (tmp_path / "mine" / "questions.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (tmp_path / "mine" / "benchmark.toml").write_text('name = "mine"\n', encoding="utf-8")
    run = tmp_path / "runs" / "run"
    assert longvid("run", tmp_path / "mine", "-m", "constant", "-o", run).returncode == 0
    code = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules, sep='\\n', file=sys.stderr)); "
        "from evals.cli import main; sys.argv[1:] = ['report', sys.argv[1]]; main()"
    )
    done = in_a_pipe(code, run)
    assert "0.0 %" in done.stdout
    loaded = set(done.stderr.splitlines())
    assert "tasks.folder" in loaded
    assert not loaded & {"numpy", "pandas", "tasks.statistics", "tasks.captioning", "tasks.kitchen.benchmark"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "most"),
    [("--help", 7.5), ("--version", 7.5), ("models", 9.0), ("models blind", 9.0), ("egoschema report --help", 11.0)],
)
def test_listing_and_help_take_few_times_as_long_as_python_itself(words: str, most: float) -> None:
    """0.3 s of processor time are 7.5 times the 0.04 s of `python -c pass`; a busy machine stretches both."""

    def seconds(*arguments: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    pairs = [(seconds("-c", "pass"), seconds("-m", "evals.cli", *words.split())) for _ in range(10)]
    assert median(took for _, took in pairs) < most * median(bare for bare, _ in pairs)


FLAT = {"llm": "openai:x", "timeout": "60", "tensor_parallel_size": "2", "tokenizer": "folder", "context": "4096"}
ENGINE = '{"timeout": 60, "tensor_parallel_size": 2, "tokenizer": "folder", "max_model_len": 4096}'
TOML = 'timeout = 60\ntensor_parallel_size = 2\ntokenizer = "folder"\nmax_model_len = 4096\n'


@pytest.mark.parametrize(
    ("file", "content"),
    [("", ENGINE), ("e.json", ENGINE), ("e.toml", TOML), ("e.toml", f"[engine]\n{TOML}"), ("e.TOML", None)],
    ids=["text", "json", "toml", "section", "no file"],
)
def test_an_engines_settings_are_given_in_one_option_or_one_by_one_and_are_the_same_run(
    file: str, content: str | None, tmp_path: Path
) -> None:
    if content is None:
        with pytest.raises((ModelError, DataError), match="engine="):
            typed_options("blind", {"engine": str(tmp_path / file)})
        return
    engine = content
    if file:
        (tmp_path / file).write_text(content, encoding="utf-8")
        engine = str(tmp_path / file)
    given = {"llm": "openai:x", "engine": engine}
    assert spelled_out("blind", given) == FLAT
    assert typed_options("blind", given) == typed_options("blind", FLAT)
    assert effective("blind", given) == effective("blind", FLAT)
    assert deciding("blind", given) == deciding("blind", FLAT)


@pytest.mark.parametrize(
    ("engine", "left"),
    [
        ('{"max_num_seqs":64}', '{"max_num_seqs":64}'),
        ('{"max_num_seqs": 64, "retries": 1}', '{"max_num_seqs": 64}'),
        ("{}", None),
        ("", None),
    ],
)
def test_what_is_vllms_alone_stays_in_the_option_as_older_records_have_it(engine: str, left: str | None) -> None:
    assert spelled_out("aggregator", {"captions": "x", "engine": engine}).get("engine") == left


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("blind", {"engine": "{"}, "engine="),
        ("blind", {"engine": "[1]"}, 'engine= must be an object such as {"timeout": 60}'),
        ("blind", {"engine": '{"timeout": 1, "timeout": 2}'}, "'timeout' twice"),
        (
            "blind",
            {"engine": '{"timeout": 1}', "timeout": "2"},
            "'timeout' is given twice, by itself and within",
        ),
        ("blind", {"engine": '{"max_model_len": 1}', "context": "2"}, "'context' is given twice"),
        ("blind", {"engine": '{"timeout": "soon"}'}, r"option 'timeout': .* \(given: soon\)"),
        ("vlm", {"model": "x", "engine": '{"timeuot": 1}'}, "does not have: .*timeuot"),
    ],
)
def test_an_engine_that_says_no_settings_is_refused(model: str, options: dict[str, str], message: str) -> None:
    with pytest.raises((ModelError, DataError), match=message):
        typed_options(model, options)


@pytest.mark.parametrize(
    ("key", "value", "instead"),
    [
        ("gpu_memory_utilization", "0.9", """-M engine='{"gpu_memory_utilization": 0.9}'"""),
        ("key_from", "MY_KEY", """-M engine='{"key_from": "MY_KEY"}'"""),
    ],
)
def test_an_option_given_the_former_way_is_taken_and_says_what_replaced_it(
    key: str, value: str, instead: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert moved_options("blind", {"llm": "x", key: value}) == [f"-M {key}={value} is now {instead}"]
    with pytest.raises(ModelError, match="unknown llm"):
        build_model("blind", {"llm": "nothing", key: value})
    assert instead in caplog.text


def test_a_setting_within_another_option_is_no_option_of_the_first_list() -> None:
    rows = option_help("aggregator")
    assert [row.name for row in rows][:5] == ["captions", "captioner", "llm", "lora", "route"]
    within = [row.within for row in rows]
    assert within == sorted(within)
    assert {row.name for row in rows if row.within == "engine"} >= {"timeout", "gpu_memory_utilization", "key_from"}


@pytest.mark.parametrize(("name", "most"), [("", 60), ("aggregator", 100)])
def test_lists_fit_a_terminal_of_eighty_columns(
    name: str, most: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "out", console.LateConsole(pipe_width=80))
    list_models(name or None)
    lines = capsys.readouterr().out.splitlines()
    assert 30 < len(lines) < most
    assert max(map(len, lines)) <= 80
    shown = {word for line in lines for word in line.split()}
    listed = {row.name for row in option_help(name)} if name else set(models().entries)
    assert listed <= shown


def test_a_pool_whose_own_file_is_the_users_to_get_is_left_out_until_it_is_there(tmp_path: Path) -> None:
    nextqa = find_benchmark("nextqa")
    assert nextqa.pools_in(tmp_path) == ("val", "val-500")
    (tmp_path / "test.csv").touch()
    assert nextqa.pools_in(tmp_path) == ("val", "val-500", "test")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mlvu", "1_plotQA.json"),
        ("mlvu", "mlvu_1_plotQA.json"),
        ("videomme", "videomme/test-00000-of-00001.parquet"),
        ("videomme", "videomme.json"),
        ("egoschema", "questions.json"),
    ],
)
def test_data_are_found_by_any_of_the_names_that_they_go_by(tmp_path: Path, name: str, file: str) -> None:
    benchmark = find_benchmark(name)
    assert not benchmark.is_in(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert benchmark.is_in(tmp_path)


def test_without_files_of_its_own_a_benchmark_is_where_its_folder_is(tmp_path: Path) -> None:
    bare = Benchmark("mine", "Mine", ("all",), "nowhere:load")
    assert not bare.is_in(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    assert bare.is_in(tmp_path / "mine")
