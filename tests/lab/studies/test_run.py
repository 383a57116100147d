"""The smoke setting of `longvid study masking`, for a few methods: what it leaves, and that it goes on."""

import json
import shutil

import pytest

from evals.schema_files import without_wall_clock
from lab.studies.summary import COSTS, ROWS, RUN, STUDY, TUNING, best_rates, read_trained
from tests.evals.conftest import assert_one_line, longvid

METHODS = "jst-mask75,frame-level"
SMOKE = ("study", "masking", "--smoke", "--seeds", "0", "--methods", METHODS, "--rates", "1e-3,2e-3")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "masking"
    done = longvid(*SMOKE, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(study, tmp_path):
    return shutil.copytree(study, tmp_path / "copy")


def kept(folder):
    return [without_wall_clock(row) for row in read_trained(folder / ROWS)]


def test_it_leaves_a_row_for_each_method_with_every_video(study):
    rows = read_trained(study / ROWS)
    videos = json.loads((study / RUN).read_text())["videos"]
    assert [(row.method, row.seed) for row in rows] == [("jst-mask75", 0), ("frame-level", 0)]
    assert all(len(row.text_to_video) == len(videos) == 12 for row in rows)
    assert len({row.weights_sha256 for row in rows}) == 2


def test_each_method_has_the_rate_that_was_best_for_it_on_other_videos(study):
    tried, rows = read_trained(study / TUNING), read_trained(study / ROWS)
    assert [(row.method, row.rate) for row in tried] == [
        (method, rate) for method in METHODS.split(",") for rate in (1e-3, 2e-3)
    ]
    assert {row.seed for row in tried}.isdisjoint(row.seed for row in rows)
    assert {row.method: row.rate for row in rows} == best_rates(tried)


def test_methods_of_the_same_function_start_alike_and_no_training_is_in_their_start(study):
    rows = [*read_trained(study / ROWS), *read_trained(study / TUNING)]
    starts = {(row.method, row.seed): set() for row in rows}
    for row in rows:
        starts[row.method, row.seed].add(row.start)
    assert all(len(of_method) == 1 for of_method in starts.values())
    assert all(0 <= row.start <= 1 for row in rows)


def test_costs_are_counted_and_measured(study):
    masked, frames = json.loads((study / COSTS).read_text())["methods"]
    assert masked["tokens"] * 8 == frames["tokens"]
    assert masked["training_bytes"] < frames["training_bytes"]
    assert min(cost["step_seconds"] for cost in (masked, frames)) > 0


def test_table_plots_and_json_are_there_and_say_that_it_was_a_smoke_test(study):
    assert "smoke test" in (study / "table.md").read_text()
    assert {path.name for path in study.iterdir()} >= {STUDY, "scatter.png", "scatter.svg"}


def test_a_study_that_lost_its_last_row_trains_that_one_again_to_the_same(copy):
    before = kept(copy)
    path = copy / ROWS
    first, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + last[:40])
    done = longvid(*SMOKE, "--out", copy)
    assert done.returncode == 0, done.stderr
    assert "1 of 2 trainings are done, 2 steps are left" in done.stdout
    assert path.read_bytes().startswith(first)
    assert kept(copy) == before


def test_a_finished_study_trains_nothing_and_reports(copy):
    before = (copy / ROWS).read_bytes()
    done = longvid(*SMOKE, "--out", copy)
    assert "2 of 2 trainings are done, 0 steps are left" in done.stdout
    assert (copy / ROWS).read_bytes() == before


def test_other_settings_in_the_same_folder_are_refused(copy):
    done = longvid(*SMOKE, "--steps", "4", "--out", copy)
    assert done.returncode == 2
    assert_one_line(done, "started with other settings", "training.steps")


def test_other_rates_in_the_same_folder_are_refused(copy):
    done = longvid(*SMOKE[:-1], "1e-3", "--out", copy)
    assert done.returncode == 2
    assert_one_line(done, "started with other settings", "rates")


@pytest.mark.parametrize(
    ("option", "value", "part"), [("--methods", "jst", "known are"), ("--seeds", "one", "whole numbers")]
)
def test_wrong_options_are_named_before_any_work(tmp_path, option, value, part):
    done = longvid("study", "masking", option, value, "--out", tmp_path / "x")
    assert done.returncode == 2
    assert_one_line(done, part)
    assert not (tmp_path / "x").exists()
