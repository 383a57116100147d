"""The trade-off study that ships says what its rows say, and was run as its config says."""

import shutil

from encoders.shipped import CONFIGS
from evals.training import difference
from lab.studies.command import OUT
from lab.studies.report import TABLE, markdown
from lab.studies.run import Plan, asked, completed, studied_methods
from lab.studies.summary import ROWS, RUN, STUDY, TUNING, Study, StudyRun, best_rates, read_trained, summarise
from tests.evals.conftest import ROOT

SHIPPED = ROOT / OUT


def test_figures_verdicts_and_table_follow_from_the_rows(tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "study")
    study = summarise(folder)
    shipped = Study.model_validate_json((SHIPPED / STUDY).read_bytes())
    assert [found.verdict for found in study.findings] == [found.verdict for found in shipped.findings]
    assert markdown(study) == (SHIPPED / TABLE).read_text(encoding="utf-8")


def test_every_method_was_trained_from_every_seed_on_the_same_videos():
    rows = read_trained(SHIPPED / ROWS)
    run = StudyRun.model_validate_json((SHIPPED / RUN).read_bytes())
    seeds, methods = {row.seed for row in rows}, {row.method for row in rows}
    assert len(seeds) >= 2
    assert methods <= {method.name for method in studied_methods(4)}
    expected = {(method, seed) for method in methods for seed in seeds}
    assert len(rows) == len(expected)
    assert {(row.method, row.seed) for row in rows} == expected
    assert {len(row.text_to_video) for row in rows} == {len(run.videos)}
    assert not run.smoke


def test_every_method_has_the_rate_that_was_best_for_it_and_starts_as_its_kind_of_attention_does():
    rows = read_trained(SHIPPED / ROWS)
    assert {row.method: row.rate for row in rows} == best_rates(read_trained(SHIPPED / TUNING))
    joint = ("jst-mask0", "jst-mask50", "jst-mask75", "adapters", "lora", "last-third")
    starts = {seed: {row.start for row in rows if row.seed == seed and row.method in joint} for seed in (0, 1)}
    assert all(len(of_seed) == 1 for of_seed in starts.values())


def test_it_was_run_with_the_config_that_ships():
    run = StudyRun.model_validate_json((SHIPPED / RUN).read_bytes())
    assert difference(completed(run, SHIPPED / RUN), asked(Plan(CONFIGS / "kitchen-study.toml", SHIPPED, (0,)))) is None
    assert len(run.rates) > 1
