"""Two gloo processes: what data-parallel training stands on."""

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from encoders.dual import contrastive_loss
from tests.encoders.small import encoder, texts, videos

WORDS = ("a pan", "an onion", "the oven", "salt")


def frozen_front():
    """Videos alone leave the image projection without gradients, which DDP must be told."""
    model = encoder()
    model.vision.image.requires_grad_(False)
    return model


def worker(rank, address, results):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    model = DistributedDataParallel(frozen_front())
    part = slice(2 * rank, 2 * rank + 2)
    contrastive_loss(model(videos(4)[part], texts(*WORDS[part]))).backward()
    if rank == 0:
        results.put({n: p.grad.numpy() for n, p in model.module.named_parameters() if p.grad is not None})
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_data_parallel_gradients_are_the_mean_of_the_processes(tmp_path):
    model = frozen_front()
    losses = [contrastive_loss(model(videos(4)[s], texts(*WORDS[s]))) for s in (slice(0, 2), slice(2, 4))]
    (sum(losses) / 2).backward()
    expected = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    address = f"file://{tmp_path}/meet"
    processes = [context.Process(target=worker, args=(rank, address, results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = results.get(timeout=300)
    for process in processes:
        process.join(60)
    assert set(found) == set(expected)
    for name, gradient in found.items():
        torch.testing.assert_close(torch.from_numpy(gradient), expected[name], rtol=1e-4, atol=1e-6, msg=name)
