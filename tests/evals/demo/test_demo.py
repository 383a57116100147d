"""`longvid demo` from end to end on two videos, with untrained encoders and the shipped captioner."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.shipped import SHIPPED
from evals.demo.run import Done, Step, Watch, carry_out
from evals.store import read_results
from tests.evals.conftest import longvid

PLAN = """
limit = 2
[[make]]
file = "captions.jsonl"
command = '''caption kitchen-qa --pool 100 --limit 1 --data $root --cut uniform:64 --model shortvivit-tiny
  -M weights=SHIPPED/shortvivit-tiny.safetensors -M v2t=SHIPPED/shortvivit-tiny-v2t.safetensors'''
[[system]]
name = "an encoder"
model = "shortvivit-tiny"
options = { weights = "random" }
tasks = ["kitchen-qa@100"]
[[system]]
name = "captions as vectors"
model = "caption-vectors"
options = { encoder = "shortvivit-tiny:weights=random", captions = "$out/captions.jsonl" }
tasks = ["kitchen-qa@100"]
[[system]]
name = "chance"
model = "chance"
tasks = ["kitchen-qa@100"]
[[system]]
name = "untrained"
model = "longvivit-tiny"
options = { weights = "kitchen" }
tasks = ["kitchen-qa@100"]
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.kitchen.files import generate

    root = tmp_path_factory.mktemp("data")
    assert len(list(generate(root / "kitchen" / "test", range(2)))) == 2
    return root


def test_a_plan_ends_with_records_leaderboard_and_named_faults(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("LONGVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LONGVID_CHECKPOINTS", str(tmp_path / "none"))
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(PLAN.replace("SHIPPED", str(SHIPPED)))
    done = longvid("demo", "--plan", plan, "--data", data, "--out", out)
    assert done.returncode == 1, done.stderr
    assert "left out: untrained on kitchen-qa@100: no longvivit-tiny.safetensors" in done.stderr
    for name in ("an-encoder", "captions-as-vectors", "chance"):
        assert read_results(out / "runs" / "kitchen-qa@100" / name).counts.answered == 2
    assert (out / "leaderboard.json").is_file()
    assert (out / "leaderboard.html").is_file()
    assert f"longvid demo --plan {plan} --out {out}" in (out / "index.html").read_text()
    assert "limited to 2 of 100 items" in done.stderr
    captions = (out / "captions.jsonl").stat()
    assert longvid("demo", "--plan", plan, "--data", data, "--out", out).returncode == 1
    assert (out / "captions.jsonl").stat().st_mtime_ns == captions.st_mtime_ns


def heard(steps: list[Step], logs: Path, jobs: int = 2) -> tuple[list[str], list[Done]]:
    told: list[str] = []
    watch = Watch(
        lambda step: told.append(f"start {step.name}"),
        lambda done: told.append(f"end {done.step.name}"),
        lambda _items: None,
    )
    return told, carry_out(steps, logs, jobs, watch)


def annotate(name: str, folder: Path, *needs: Path, split: str = "val") -> Step:
    target = folder / f"{name}.json"
    arguments = ("kitchen-annotations", "--split", split, "--videos", "1", "--out", str(target))
    return Step(name, arguments, target, needs)


def test_a_step_waits_for_what_it_needs(tmp_path: Path) -> None:
    first = annotate("first", tmp_path)
    second = annotate("second", tmp_path, first.target)
    told, done = heard([second, first], tmp_path / "logs")
    assert told == ["start first", "end first", "start second", "end second"]
    assert not [one.fault for one in done if one.fault]


def test_one_steps_fault_leaves_the_others_alone_and_is_told_in_its_words(tmp_path: Path) -> None:
    bad = annotate("bad", tmp_path, split="none")
    hopeless = annotate("hopeless", tmp_path, bad.target)
    good = annotate("good", tmp_path)
    _, done = heard([bad, hopeless, good], tmp_path / "logs")
    faults = {one.step.name: one.fault for one in done}
    assert "no video 0 in a split 'none'" in faults["bad"]
    assert faults["hopeless"] == "bad.json could not be made"
    assert faults["good"] == ""
    assert good.target.is_file()


OWN_PLAN = """
[[system]]
name = "first option"
model = "constant"
tasks = ["OWN"]
[[system]]
name = "longest"
model = "longest-option"
tasks = ["OWN"]
"""


def test_a_suite_runs_the_systems_of_a_plan_on_questions_of_ones_own(tmp_path: Path, shared_data: Path) -> None:
    own = tmp_path / "own"
    (own / "videos").mkdir(parents=True)
    (own / "benchmark.toml").write_text('name = "own"\n')
    (own / "videos" / "v.mp4").symlink_to(shared_data / "videos" / "natural" / "bikes_10s.mp4")
    (own / "questions.jsonl").write_text(
        '{"id": "a", "video": "v.mp4", "question": "What?", "options": ["x", "longer"], "answer": 1}\n'
    )
    (tmp_path / "plan.toml").write_text(OWN_PLAN.replace("OWN", str(own)))
    out = tmp_path / "out"
    done = longvid("suite", tmp_path / "plan.toml", "--data", tmp_path, "--out", out)
    assert done.returncode == 0, done.stderr
    values = {name: read_results(out / "runs" / "own" / name).primary.value for name in ("first-option", "longest")}
    assert values == {"first-option": 0.0, "longest": 1.0}
    assert (out / "leaderboard.html").is_file()


def test_a_suite_without_such_a_task_or_plan_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(OWN_PLAN.replace("OWN", "nowhere@1"))
    done = longvid("suite", tmp_path / "plan.toml", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "plan.toml: no task 'nowhere@1'" in done.stderr
    assert longvid("suite", tmp_path / "none.toml").returncode == 2
