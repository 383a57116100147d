"""A plan is made from a few items spread over the task, and its figures are means over them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.planning import make_plan, plan_lines, spread
from tasks.errors import DataError, ModelError
from tasks.multiple_choice import MultipleChoiceTask
from tests.evals.conftest import ToyModel, ToyTalker, assert_one_line, longvid


@given(total=st.integers(1, 300), count=st.integers(1, 50))
def test_spread_takes_the_middles_of_equal_stretches(total: int, count: int) -> None:
    picked = spread(range(total), count)
    taken = min(count, total)
    assert len(set(picked)) == len(picked) == taken
    assert picked == sorted(picked)
    for i, position in enumerate(picked):
        assert i * total / taken <= position + 1
        assert position < (i + 1) * total / taken


def test_spread_of_everything_is_everything() -> None:
    assert spread("abc", 7) == ["a", "b", "c"]


def test_a_plan_counts_items_and_clusters_under_the_limit(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyModel(), probe=2, limit=7)
    assert (plan.task, plan.items, plan.clusters, plan.items_with_video, plan.probed) == ("toy@12", 7, 3, 0, 2)


def test_a_plans_tokens_are_means_over_the_probed_items_times_the_items(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyTalker({item.id: "B" for item in task.items()}), probe=3, limit=None)
    assert (plan.prompt_tokens_per_item, plan.completion_tokens_per_item) == (100.0, 7.0)
    assert plan.prompt_tokens == 1200.0
    assert plan.seconds == pytest.approx(12 * plan.seconds_per_item)


def test_a_probe_warms_up_on_an_item_that_is_not_timed(task: MultipleChoiceTask) -> None:
    model = ToyModel()
    make_plan(task, model, probe=3, limit=None)
    assert model.asked_ids == ["q01", "q04", "q07", "q10"]


def test_a_model_that_cannot_do_the_task_is_refused_before_the_probe(task: MultipleChoiceTask) -> None:
    with pytest.raises(ModelError, match="toy@12 needs"):
        make_plan(task, object(), probe=1, limit=None)


def test_items_that_fail_are_counted_and_their_reason_is_told(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyModel(bad=frozenset({"q04", "q07"})), probe=3, limit=None)
    assert (plan.probed, plan.failed, plan.fault) == (3, 2, "no frames in q04")


def test_a_probe_without_any_answer_ends_with_the_reason(task: MultipleChoiceTask) -> None:
    with pytest.raises(DataError, match="none of 3 probed items of toy@12 has an answer: no frames in q04"):
        make_plan(task, ToyModel(bad=frozenset(item.id for item in task.items())), probe=3, limit=None)


def test_time_has_its_range_and_the_record_its_room(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyTalker({item.id: "B" for item in task.items()}), probe=3, limit=None)
    assert plan.fastest <= plan.seconds_per_item <= plan.slowest
    assert 12 * 200 < plan.record_bytes < 12 * 2_000
    told = dict(plan_lines(plan, "video", 5e9))
    assert told["of which"] == "write 0.50 s, read 0.25 s"
    assert told["frames"] == "8.0 an item"


REAL = {
    "egoschema": ("chance", "constant", "random-vectors"),
    "youcook2-retrieval": ("random-vectors", "bm25", "tfidf"),
    "youcook2-captioning": ("word-salad",),
    "youcook2-summary": ("word-salad", "constant-paragraph", "random-paragraph", "recipe-type-paragraph"),
}
NEEDS = {
    **dict.fromkeys(("bm25", "tfidf"), "captions=youcook2/asr_transcripts.json"),
    **dict.fromkeys(
        ("constant-paragraph", "random-paragraph", "recipe-type-paragraph"),
        "annotations=youcook2/youcookii_annotations_trainval.json",
    ),
}


@pytest.mark.parametrize(("benchmark", "model"), [(name, model) for name, models in REAL.items() for model in models])
def test_every_task_has_a_plan_for_models_that_need_no_weights(shared_data: Path, benchmark: str, model: str) -> None:
    key, _, path = NEEDS.get(model, "").partition("=")
    options = ("-M", f"{key}={shared_data / path}") if key else ()
    done = longvid(benchmark, "plan", "--model", model, *options, "--data", shared_data, "--json", "--probe", 2)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["items"] > 400
    assert plan["probed"] == 2


def test_an_encoder_without_videos_is_one_line_with_the_reason(shared_data: Path) -> None:
    arguments = ("--model", "longvivit-tiny", "-M", "weights=random", "--data", shared_data)
    assert_one_line(longvid("egoschema", "plan", *arguments), "none of 3 probed items", "names no video file")


def lines_of(task: MultipleChoiceTask, model: object) -> dict[str, str]:
    """What a plan tells, by its names."""
    return dict(plan_lines(make_plan(task, model, probe=2, limit=None), "video", 1e9))


def test_a_plan_tells_tokens_only_of_a_model_that_reads_some(task: MultipleChoiceTask) -> None:
    assert not [name for name in lines_of(task, ToyModel()) if "tokens" in name]
    told = lines_of(task, ToyTalker({item.id: "B" for item in task.items()}))
    assert told["prompt tokens"] == "100 an item, about 1,200 in all"


def test_a_plan_s_time_is_a_bound_where_items_share_clips_that_are_decoded_once(task: MultipleChoiceTask) -> None:
    plan = make_plan(task, ToyModel(), probe=2, limit=None)
    seen = replace(plan, clips=4, cost=plan.cost.model_copy(update={"frames_per_item": 16.0}))
    assert "at most" in dict(plan_lines(seen, "video", 1e9))["time"]
    assert "share 4 clips" in dict(plan_lines(seen, "video", 1e9))["time"]
    assert "about" in dict(plan_lines(replace(seen, clips=12), "video", 1e9))["time"]
