import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from encoders.pretrain.checkpoint import BAD, METRICS, WALL_CLOCK, checkpoints, read_rows
from encoders.pretrain.engine import Watch, train
from encoders.pretrain.step import Job
from encoders.weights import read_tensors
from tasks.errors import DataError, ModelError
from tests.encoders.pretrain.toy import PLAN, ToySource, toy_job

ROOT = Path(__file__).resolve().parents[3]


def curve(run):
    """The record without what the clock decides."""
    return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in read_rows(run / METRICS)]


def state(run):
    last = checkpoints(run)[-1]
    return {**read_tensors(last / "model.safetensors"), **read_tensors(last / "optimiser.safetensors")}


class StoppedError(Exception):
    pass


def stop_after(step):
    def heard(at, _loss):
        if at == step:
            raise StoppedError

    return Watch(step=heard)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole")
    train(toy_job(), PLAN, run, seed=0)
    return run


@pytest.mark.slow
def test_the_loss_falls(tmp_path):
    train(toy_job(mask=0.0), replace(PLAN, steps=200, warmup=20, log=40, save=200), tmp_path, seed=0)
    rows = curve(tmp_path)
    assert rows[-1]["caption_accuracy"] > 0.8 > 0.4 > rows[0]["caption_accuracy"]


@pytest.mark.parametrize("step", [4, 7, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 11))])
def test_an_interrupted_stage_continues_to_the_bit(whole, tmp_path, step):
    with pytest.raises(StoppedError):
        train(toy_job(), PLAN, tmp_path, seed=0, watch=stop_after(step))
    train(toy_job(), PLAN, tmp_path, seed=0)
    assert curve(tmp_path) == curve(whole)
    expected = state(whole)
    assert all(torch.equal(value, expected[name]) for name, value in state(tmp_path).items())


FIXED = {"source": ToySource(two_kinds=True), "statements": 2, "circle": 8, "balance": "kinds", "fixed_texts": True}


def test_a_stage_that_keeps_its_texts_continues_to_the_bit(tmp_path):
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    train(toy_job(**FIXED), PLAN, tmp_path / "whole", seed=0)
    with pytest.raises(StoppedError):
        train(toy_job(**FIXED), PLAN, tmp_path / "parts", seed=0, watch=stop_after(7))
    train(toy_job(**FIXED), PLAN, tmp_path / "parts", seed=0)
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    expected = state(tmp_path / "whole")
    assert all(torch.equal(value, expected[name]) for name, value in state(tmp_path / "parts").items())


def test_a_stage_ends_where_it_is_told_to_and_may_go_on_from_there(whole, tmp_path):
    assert train(toy_job(), replace(PLAN, until=8), tmp_path, seed=0).step == 8
    assert train(toy_job(), replace(PLAN, until=8), tmp_path, seed=0).step == 8
    assert train(toy_job(), PLAN, tmp_path, seed=0).step == PLAN.steps
    assert curve(tmp_path) == curve(whole)


@pytest.mark.slow
def test_a_killed_process_continues_to_the_bit(whole, tmp_path):
    command = [sys.executable, "-m", "tests.encoders.pretrain.toy", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not checkpoints(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoints(tmp_path)
    train(toy_job(), PLAN, tmp_path, seed=0)
    assert curve(tmp_path) == curve(whole)


def test_a_finished_run_trains_no_further(whole):
    before = curve(whole)
    assert train(toy_job(), PLAN, whole, seed=0).step == PLAN.steps
    assert curve(whole) == before


def test_only_the_last_checkpoints_are_kept(whole):
    assert [path.name for path in checkpoints(whole)] == ["00000008", "00000012"]


def test_another_models_checkpoint_is_refused(whole):
    job = toy_job()
    job.step.encoder.text.requires_grad_(False)
    with pytest.raises(ModelError, match="another set of trained parameters"):
        train(job, PLAN, whole, seed=0)


def test_bad_samples_are_counted_and_named_and_never_replaced(tmp_path):
    train(toy_job(source=ToySource(broken=frozenset({3}))), PLAN, tmp_path, seed=0)
    named = read_rows(tmp_path / BAD)
    # 12 steps of 8 are six epochs of 16 samples, and each epoch meets every sample once.
    assert [row["key"] for row in named] == ["toy3"] * 6
    assert curve(tmp_path)[-1]["bad"] == 6
    assert curve(tmp_path)[-1]["samples"] == 96


def test_a_data_set_of_bad_samples_stops_with_the_reason(tmp_path):
    with pytest.raises(DataError, match="it is broken"):
        train(toy_job(source=ToySource(broken=frozenset(range(15)))), PLAN, tmp_path, seed=0)


def test_a_diverging_loss_stops_with_the_step(tmp_path):
    job = toy_job()
    with torch.no_grad():
        job.step.encoder.vision_proj.weight.fill_(torch.inf)
    with pytest.raises(ModelError, match="step 0"):
        train(job, PLAN, tmp_path, seed=0)


def test_evaluations_are_in_the_record(tmp_path):
    job = toy_job()
    seen = []

    def evaluate():
        seen.append(job.step.training)
        return {"recall": 0.5}

    train(Job(job.step, job.batches, evaluate), replace(PLAN, evaluate=4), tmp_path, seed=0)
    rows = [row for row in curve(tmp_path) if row["kind"] == "evaluation"]
    assert [(row["step"], row["recall"]) for row in rows] == [(4, 0.5), (8, 0.5), (12, 0.5)]
    assert not any(seen)
