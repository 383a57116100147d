"""A record that somebody wrote to do harm: every free text of it is an attack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from evals.compare.build import compare
from evals.compare.record import read_records
from evals.html_report import leaderboard_page
from evals.html_report.pair_page import pair_page
from evals.html_report.run_page import RunFiles, read_run_files, run_page
from evals.leaderboard.build import build_leaderboard
from tasks.multiple_choice import ChoiceItem, MultipleChoiceTask
from tests.evals.compare.runs import Right, run_as
from tests.evals.conftest import ToyModel, run_toy, toy_task

ATTACKS = (
    "<script>window.harmed = 1</script>",
    "</style><script>window.harmed = 1</script>",
    "</script><script>window.harmed = 1</script>",
    '"><img src=x onerror="window.harmed = 1">',
    "' onmouseover='window.harmed = 1' autofocus onfocus='window.harmed = 1",
    "<svg onload=window.harmed=1><animate onbegin=window.harmed=1 attributeName=x dur=1s>",
    "javascript:window.harmed=1",
    "{{ 7 * 7 }}{% raw %}",
    "<iframe src='file:///etc/passwd'></iframe>",
    "<link rel=stylesheet href=https://example.org/x.css><base href=https://example.org/>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "../../../../etc/passwd",
    "\x1b[2J\x1b]0;owned\x07\x00\u202egnp.exe\u2066",
    "<!-- <textarea><title>",
)
EVERYTHING = " ".join(ATTACKS)


def hostile_files(folder: Path) -> tuple[RunFiles, MultipleChoiceTask]:
    """A run whose every text is `EVERYTHING`, and a task with such questions."""
    plain = toy_task(12)
    items = [
        ChoiceItem(i.id, i.cluster, i.clip, EVERYTHING, tuple(f"{EVERYTHING} {n}" for n in range(5)), i.answer)
        for i in plain.items()
    ]
    task = MultipleChoiceTask(replace(plain.info, items_sha256="0" * 64), items, plain.prompts)
    run_toy(task, ToyModel(), folder)
    files = read_run_files(folder)
    results = files.results
    row = replace(results.task, cluster=EVERYTHING, source=EVERYTHING, licence=EVERYTHING, citation=EVERYTHING)
    model = results.model.model_copy(
        update={"name": EVERYTHING, "options": {EVERYTHING: EVERYTHING}, "device": EVERYTHING, "dtype": EVERYTHING}
    )
    provenance = results.provenance.model_copy(
        update={"argv": (EVERYTHING,), "platform": EVERYTHING, "created": EVERYTHING, "versions": {EVERYTHING: "1"}}
    )
    floors = tuple(floor.model_copy(update={"model": EVERYTHING}) for floor in results.floors)
    cost = results.cost.model_copy(update={"seconds_by_stage": {EVERYTHING: 1.0}, "seconds": 2.0})
    metrics = tuple(replace(metric, method=EVERYTHING) for metric in results.metrics)
    details = {"chosen_counts": [EVERYTHING, -1, None], "answer_counts": {"a": EVERYTHING}}
    bad = results.model_copy(
        update={
            "name": EVERYTHING,
            "task": row,
            "model": model,
            "protocol": {EVERYTHING: EVERYTHING, "route": EVERYTHING},
            "provenance": provenance,
            "floors": floors,
            "cost": cost,
            "metrics": metrics,
            "details": details,
            "warnings": (EVERYTHING,) * 50,
        }
    )
    samples = {
        key: sample.model_copy(
            update={
                "cluster": EVERYTHING,
                "raw": EVERYTHING,
                "rule": EVERYTHING,
                "answer": EVERYTHING,
                "prompt_sha256": EVERYTHING,
                "labels": {EVERYTHING: f"{EVERYTHING}{n % 2}"},
                "notes": {
                    "captions_text": f"[0:01-0:02] {EVERYTHING}",
                    "captions": [EVERYTHING, {"text": EVERYTHING, "start": 1}, 5, None, {"text": 7}],
                    "x": EVERYTHING,
                },
            }
        )
        for n, (key, sample) in enumerate(files.samples.items())
    }
    neighbour = bad.model_copy(update={"name": f"{EVERYTHING} again", "fingerprint": "other"})
    return RunFiles(bad, samples, {}, (neighbour,)), task


def hostile_run_page(folder: Path) -> str:
    """The page of such a run."""
    files, task = hostile_files(folder)
    return run_page(files, task)


def hostile_board_page(folder: Path) -> str:
    """The page of a leaderboard of such runs."""
    files, _ = hostile_files(folder)
    partial = files.results.model_copy(update={"status": "partial"})
    return leaderboard_page(build_leaderboard([files.results, *files.neighbours, partial]), title=EVERYTHING)


def hostile_pair_page(folder: Path) -> str:
    """The page of two such runs."""
    plain = toy_task(12)
    folders = [folder / "runs" / str(seed) for seed in range(2)]
    for seed, place in enumerate(folders):
        run_as(plain, Right(plain, 0.5, seed=seed), place)
    records = read_records(folders)
    comparison = compare(records, plain)
    files, task = hostile_files(folder / "hostile")
    bad = [replace(record, name=EVERYTHING, samples=files.samples, vectors={}) for record in records]
    pairs = tuple(
        pair.model_copy(update={"first": EVERYTHING, "other": EVERYTHING, "conclusion": EVERYTHING})
        for pair in comparison.pairs
    )
    runs = tuple(run.model_copy(update={"name": EVERYTHING, "model": EVERYTHING}) for run in comparison.runs)
    named = comparison.model_copy(update={"pairs": pairs, "runs": runs, "task": EVERYTHING, "notes": (EVERYTHING,)})
    return pair_page(bad, named, task)
