"""A demo's plan: read, checked, and turned into commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.demo.run import DemoPlan, Make, Places, System, prepare_arguments, read_plan, steps_of
from tasks.errors import DataError
from tasks.resources import resource

PLAN = resource("evals", "plans", "demo.toml")

SYSTEM = System(
    name="an aggregator", model="aggregator", options={"captions": "$out/c.jsonl"}, tasks=["kitchen-qa@100"]
)
PLACES = Places(Path("out"), Path("data"))


def test_the_shipped_plan_reads_and_compares_encoders_with_aggregators() -> None:
    plan = read_plan(PLAN)
    models = {system.model for system in plan.system}
    assert models >= {"imagevit-tiny", "shortvivit-tiny", "longvivit-tiny", "aggregator", "blind"}
    lines = [step.line for step in steps_of(plan, PLACES)]
    assert not [line for line in lines if "$" in line]


def test_the_plan_for_other_seeds_asks_each_encoder_what_the_demo_asks_it() -> None:
    demo, seeds = (read_plan(path) for path in (PLAN, PLAN.with_name("seeds.toml")))
    asked = {system.name: (system.model, system.options, system.tasks) for system in demo.system}
    assert len(seeds.system) == 4
    assert all(asked[system.name] == (system.model, system.options, system.tasks) for system in seeds.system)


def test_a_run_is_the_command_that_a_user_would_type() -> None:
    (step,) = steps_of(DemoPlan(system=[SYSTEM], limit=2), PLACES)
    assert step.line == (
        "longvid kitchen-qa run --pool 100 --model aggregator -M captions=out/c.jsonl --data data "
        "--out out/runs/kitchen-qa@100/an-aggregator --name 'an aggregator' --limit 2"
    )
    assert step.items == 2


def test_a_run_waits_for_the_files_that_its_options_name() -> None:
    make = Make(file="c.jsonl", command="caption kitchen-qa --data $root")
    first, second = steps_of(DemoPlan(make=[make], system=[SYSTEM]), PLACES)
    assert first.arguments == ("caption", "kitchen-qa", "--data", "data", "--out", "out/c.jsonl")
    assert (first.needs, second.needs) == ((), (first.target,))


def test_videos_are_made_by_the_benchmarks_own_verb() -> None:
    plan = DemoPlan(prepare="kitchen-qa@100", system=[SYSTEM])
    assert prepare_arguments(plan, PLACES) == ["kitchen-qa", "prepare", "--pool", "100", "--data", "data"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("system = 3", "system: "),
        ("[[system]]\nname = 'a'\nmodel = 'b'\ntasks = ['kitchen-qa@9']", "no task 'kitchen-qa@9'"),
        ("[[system]]\nname = 'a'\nmodel = 'b'\ntasks = []\nmore = 1", "more: extra inputs"),
        ("[[", "is not TOML"),
    ],
)
def test_a_fault_is_named_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"plan\.toml") as caught:
        read_plan(path)
    assert words in str(caught.value)


def test_an_unknown_place_is_named() -> None:
    with pytest.raises(DataError, match=r"may name \$out and \$root"):
        PLACES.fill("$elsewhere/x")
