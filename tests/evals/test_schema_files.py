"""The published schemas are the models, and say which fields tell of time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.compare.build import compare
from evals.compare.record import read_record
from evals.compare.rows import Comparison
from evals.leaderboard.build import build_leaderboard
from evals.leaderboard.rows import Leaderboard
from evals.record import Cost, Provenance, Results, Row, Run, Sample
from evals.schema_files import FOLDER, KINDS, main, schema_text, without_wall_clock
from evals.store import read_samples
from tasks.multiple_choice import MultipleChoiceTask
from tasks.task import TokenUsage
from tests.evals.conftest import ToyModel, ToyTalker, run_toy

EXPECTED = {
    Provenance: {"created"},
    TokenUsage: {"cached"},
    Sample: {"seconds", "peak_memory_bytes"},
    Results: {"sha256"},
    Cost: {
        "cached_tokens",
        "seconds",
        "seconds_per_item",
        "seconds_by_stage",
        "frames_wait_share",
        "peak_memory_bytes",
    },
}


def marked(schema: dict[str, Any]) -> set[str]:
    """The properties of an object schema that are marked as wall-clock."""
    return {name for name, field in schema.get("properties", {}).items() if field.get("x-wall-clock")}


@pytest.mark.parametrize("name", KINDS)
def test_the_published_schema_is_the_model(name: str) -> None:
    assert (FOLDER / f"{name}.schema.json").read_text(encoding="utf-8") == schema_text(KINDS[name])


def test_writing_the_schemas_changes_nothing() -> None:
    before = {path.name: path.read_bytes() for path in FOLDER.iterdir()}
    main()
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == before


@pytest.mark.parametrize(("kind", "fields"), EXPECTED.items())
def test_the_published_schemas_mark_the_wall_clock_fields(kind: type[Row], fields: set[str]) -> None:
    found = []
    for path in FOLDER.glob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        if schema["title"] == kind.__name__:
            found.append(marked(schema))
        if kind.__name__ in schema.get("$defs", {}):
            found.append(marked(schema["$defs"][kind.__name__]))
    assert found
    assert all(names == fields for names in found)


def test_no_other_field_is_marked() -> None:
    for path in FOLDER.glob("*.schema.json"):
        for name, schema in json.loads(path.read_text(encoding="utf-8")).get("$defs", {}).items():
            assert not marked(schema) or name in {kind.__name__ for kind in EXPECTED}


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_field_of_a_schema_is_in_the_rows_that_are_written(
    kind: type[Row], task: MultipleChoiceTask, tmp_path: Path
) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run")
    run_toy(task, ToyModel(), tmp_path / "again")
    row: dict[type[Row], Row] = {
        Results: results,
        Sample: read_samples(tmp_path / "run")["q00"],
        Leaderboard: build_leaderboard([results]),
        Comparison: compare([read_record(tmp_path / name) for name in ("run", "again")], task),
    }
    text = (tmp_path / "run" / "run.json").read_text()
    written = row[kind].model_dump(mode="json") if kind in row else json.loads(text)
    assert set(kind.model_json_schema(mode="serialization")["properties"]) == set(written)


def test_a_results_file_reads_back_to_the_same_bytes(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyTalker({item.id: "Answer: B" for item in task.items()}), tmp_path / "run")
    text = (tmp_path / "run" / "results.json").read_text(encoding="utf-8")
    again = Results.model_validate_json(text, strict=False)
    assert json.dumps(again.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n" == text


def test_removing_wall_clock_fields_removes_nothing_else(task: MultipleChoiceTask, tmp_path: Path) -> None:
    results = run_toy(task, ToyModel(), tmp_path / "run")
    whole, kept = results.model_dump(mode="json"), without_wall_clock(results)
    assert set(whole) - set(kept) == EXPECTED[Results]
    assert set(whole["cost"]) - set(kept["cost"]) == EXPECTED[Cost]
    assert set(whole["provenance"]) - set(kept["provenance"]) == EXPECTED[Provenance]
    assert {name: kept[name] for name in kept if name not in ("cost", "provenance")} == {
        name: whole[name] for name in kept if name not in ("cost", "provenance")
    }


def test_wall_clock_fields_inside_a_sample_are_removed_too() -> None:
    kept = without_wall_clock(
        Sample(id="a", cluster="v", tokens=TokenUsage(prompt=5, cached=3), seconds={"total": 1.0})
    )
    assert kept["tokens"] == {"prompt": 5, "completion": 0}
    assert "seconds" not in kept


def test_two_runs_differ_in_wall_clock_fields_only(task: MultipleChoiceTask, tmp_path: Path) -> None:
    one, two = (run_toy(task, ToyModel(), tmp_path / name) for name in ("one", "two"))
    assert one.cost.seconds != two.cost.seconds
    assert without_wall_clock(one) == without_wall_clock(two)


def test_a_fingerprint_does_not_depend_on_when_and_where(task: MultipleChoiceTask, tmp_path: Path) -> None:
    run_toy(task, ToyModel(), tmp_path / "run")
    run = Run.model_validate_json((tmp_path / "run" / "run.json").read_text())
    later = run.provenance.model_copy(update={"created": "2030-01-01", "platform": "elsewhere"})
    assert run.model_copy(update={"provenance": later, "name": "x", "limit": 3}).fingerprint() == run.fingerprint()
    assert run.model_copy(update={"seed": 1}).fingerprint() != run.fingerprint()
