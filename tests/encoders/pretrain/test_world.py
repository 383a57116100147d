"""Two gloo processes train as one does."""

import pytest
import torch
from torch import distributed, multiprocessing

from encoders.pretrain.checkpoint import BAD, METRICS, read_rows
from encoders.pretrain.engine import train
from encoders.pretrain.world import World
from tests.encoders.pretrain.toy import PLAN, ToySource, toy_job

BROKEN = ToySource(broken=frozenset({3}))


def worker(rank, address, folder, source, chunk):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    world = World(rank, 2)
    train(toy_job(world, source=source, chunk=chunk), PLAN, folder, seed=0, world=world)
    distributed.barrier()
    distributed.destroy_process_group()


def losses(folder):
    return [(row["loss"], row["caption_accuracy"], row["samples"], row["bad"]) for row in read_rows(folder / METRICS)]


@pytest.mark.slow  # test_shards.py compares two processes with one among the fast tests
@pytest.mark.parametrize(("source", "chunk"), [(ToySource(), 0), (BROKEN, 2)])
def test_two_processes_have_the_loss_of_one(tmp_path, source, chunk):
    context = multiprocessing.get_context("spawn")
    address = f"file://{tmp_path}/meet"
    (tmp_path / "two").mkdir()
    processes = [
        context.Process(target=worker, args=(rank, address, tmp_path / "two", source, chunk)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    (tmp_path / "one").mkdir()
    train(toy_job(source=source), PLAN, tmp_path / "one", seed=0)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert read_rows(tmp_path / "two" / BAD) == read_rows(tmp_path / "one" / BAD)
    for two, one in zip(losses(tmp_path / "two"), losses(tmp_path / "one"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
