import json
import subprocess
import sys

import pytest

from evals.record import Provenance
from evals.store import write_row
from lab.studies.report import markdown, write_report
from lab.studies.summary import (
    COSTS,
    RETRIEVAL,
    ROWS,
    RUN,
    STATEMENTS,
    STUDY,
    MethodCost,
    Study,
    StudyCosts,
    StudyRun,
    Trained,
    append_trained,
    best_rates,
    read_trained,
    summarise,
)
from tasks.errors import RecordError
from tests.evals.conftest import longvid

VIDEOS = 80
METHODS = {
    "jst-mask0": 400,
    "jst-mask25": 300,
    "jst-mask50": 200,
    "jst-mask75": 100,
    "jst-mask88": 50,
    "frame-level": 400,
    "coarse-space": 100,
}
RIGHT = (3, 3, 3, 3, 3, 1, 1)
PROVENANCE = Provenance(
    argv=(),
    commit=None,
    uncommitted_changes=None,
    versions={},
    platform="test",
    threads=1,
    created="2026-01-01T00:00:00",
)


def trained(method, seed, right, statements=0.5):
    """Right of the first `right` siblings of each family, give or take one video of each seed's own."""
    found = [float(i % 4 < right) for i in range(VIDEOS)]
    found[seed] = 1 - found[seed]
    return Trained(
        method=method,
        seed=seed,
        steps=2,
        samples=8,
        loss=1.0,
        initial_weights_sha256="a",
        weights_sha256="b",
        text_to_video=tuple(found),
        video_to_text=tuple(found),
        statements={"before": (statements,) * VIDEOS, "count": (None, *(statements,) * (VIDEOS - 1))},
        chances={"text_to_video_r1": 1 / VIDEOS, "video_to_text_r1": 1 / VIDEOS, "before": 0.5, "count": 0.2},
        seconds=1.0,
    )


@pytest.fixture
def folder(tmp_path):
    """Masking loses nothing, the frame-level encoder and coarse patches lose much."""
    run = StudyRun(
        settings={},
        smoke=False,
        videos=tuple(f"v{i}" for i in range(VIDEOS)),
        families=tuple(f"f{i // 4}" for i in range(VIDEOS)),
        torch_threads=1,
        provenance=PROVENANCE,
    )
    costs = [
        MethodCost(
            method=name,
            mask=0,
            tokens=10,
            parameters=100,
            trainable=50,
            activation_bytes=size,
            training_bytes=size,
            train_flops=1,
            step_seconds=0.5,
        )
        for name, size in METHODS.items()
    ]
    write_row(tmp_path / RUN, run)
    write_row(tmp_path / COSTS, StudyCosts(batch=4, frames=16, size=64, threads=1, methods=tuple(costs)))
    for seed in range(3):
        for name, right in zip(METHODS, RIGHT, strict=True):
            append_trained(tmp_path / ROWS, trained(name, seed, right))
    return tmp_path


def verdicts(study, metric):
    return {found.finding: found.verdict for found in study.findings if found.metric == metric}


def test_verdicts_follow_from_the_rows(folder):
    found = verdicts(summarise(folder), RETRIEVAL)
    assert found["joint attention beats the frame-level encoder"] == "reproduced"
    assert found["coarse-space loses more than masking at equal memory"] == "reproduced"
    assert found["adapters beat LoRA"] == "not run"


def test_the_same_rows_the_other_way_round_turn_the_verdict(folder):
    path = folder / ROWS
    swapped = {"frame-level": "jst-mask0", "jst-mask0": "frame-level"}
    rows = [row.model_copy(update={"method": swapped.get(row.method, row.method)}) for row in read_trained(path)]
    path.unlink()
    for row in rows:
        append_trained(path, row)
    found = verdicts(summarise(folder), RETRIEVAL)
    assert found["joint attention beats the frame-level encoder"] == "not reproduced"


def test_methods_that_are_equal_throughout_decide_nothing(folder):
    assert set(verdicts(summarise(folder), STATEMENTS).values()) == {"undecided", "not run"}


def test_intervals_are_corrected_for_the_findings_that_were_run(folder):
    found = [f for f in summarise(folder).findings if f.metric != "activation_bytes"]
    run = [f for f in found if f.value is not None]
    assert 0 < len(run) < len(found)
    assert [f.level for f in run] == [pytest.approx(1 - 0.05 / len(run))] * len(run)


def test_a_study_that_asked_for_no_statements_is_judged_on_retrieval_alone(folder):
    rows = [
        row.model_copy(update={"statements": {}, "chances": {k: v for k, v in row.chances.items() if "r1" in k}})
        for row in read_trained(folder / ROWS)
    ]
    (folder / ROWS).unlink()
    for row in rows:
        append_trained(folder / ROWS, row)
    study = summarise(folder)
    assert {f.metric for f in study.findings} == {RETRIEVAL, "activation_bytes"}
    assert "statements" not in markdown(study).lower()
    write_report(study, folder)


def test_of_equal_rates_the_lowest_is_taken(folder):
    tuned = [trained("lora", 0, right).model_copy(update={"rate": rate}) for right, rate in ((2, 2e-3), (2, 1e-3))]
    assert best_rates(tuned) == {"lora": 1e-3}
    better = trained("lora", 0, 3).model_copy(update={"rate": 4e-3})
    assert best_rates([*tuned, better]) == {"lora": 4e-3}


def test_memory_is_counted_so_nothing_about_it_is_undecided(folder):
    found = verdicts(summarise(folder), "activation_bytes")
    assert found == {"75 % masking takes at least 2 times less activation memory": "reproduced"}


def test_a_figure_is_the_mean_of_its_seeds(folder):
    figure = summarise(folder).methods[0].figures[0]
    assert figure.value == pytest.approx(sum(figure.per_seed.values()) / 3)
    assert (figure.seeds, figure.n, figure.clusters) == (3, VIDEOS, 20)


def test_a_video_without_a_statement_of_a_kind_is_left_out_of_that_kind(folder):
    by_name = {figure.name: figure for figure in summarise(folder).methods[0].figures}
    assert (by_name["count"].n, by_name["before"].n) == (VIDEOS - 1, VIDEOS)


def test_chance_of_statements_weighs_kinds_as_their_accuracy_does(folder):
    expected = (0.5 + (VIDEOS - 1) * (0.5 + 0.2) / 2) / VIDEOS
    assert summarise(folder).chances[STATEMENTS] == pytest.approx(expected)


def test_study_json_reads_back_and_is_a_function_of_the_rows(folder):
    study = summarise(folder)
    text = (folder / STUDY).read_text()
    assert Study.model_validate_json(text) == study
    assert json.loads(text)["schema_version"] == 1
    summarise(folder)
    assert (folder / STUDY).read_text() == text


def test_the_report_has_a_line_for_each_method_and_both_plots(folder):
    study = summarise(folder)
    paths = write_report(study, folder)
    lines = markdown(study).splitlines()
    assert all(sum(line.startswith(f"| {name} |") for line in lines) == 3 for name in METHODS)
    assert [path.suffix for path in paths] == [".md", ".png", ".svg"]
    assert paths[1].read_bytes().startswith(b"\x89PNG")
    assert b"</svg>" in paths[2].read_bytes()


def test_the_command_reports_without_torch(folder):
    done = longvid("study", "report", folder)
    assert done.returncode == 0
    assert "reproduced" in done.stdout
    code = "import sys, lab.studies.command, lab.studies.summary, lab.studies.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_torn_last_row_is_passed_over_and_cut_off_by_the_next(folder):
    path = folder / ROWS
    whole = read_trained(path)
    with path.open("ab") as file:
        file.write(b'{"method": "jst-ma')
    assert read_trained(path) == whole
    append_trained(path, trained("lora", 0, 1))
    assert [row.method for row in read_trained(path)] == [row.method for row in whole] + ["lora"]


def test_a_damaged_row_is_named(folder):
    path = folder / ROWS
    path.write_text('{"method": 3}\n' + path.read_text())
    with pytest.raises(RecordError, match="line 1 is damaged"):
        summarise(folder)
