"""Two gloo processes: what data-parallel training stands on."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from encoders.dual import contrastive_loss
from tests.encoders.small import encoder, texts, videos
from tests.encoders.two_processes import in_two

WORDS = ("a pan", "an onion", "the oven", "salt")


def frozen_front():
    """Videos alone leave the image projection without gradients, which DDP must be told."""
    model = encoder()
    model.vision.image.requires_grad_(False)
    return model


def gradients(rank):
    model = DistributedDataParallel(frozen_front())
    part = slice(2 * rank, 2 * rank + 2)
    contrastive_loss(model(videos(4)[part], texts(*WORDS[part]))).backward()
    return {name: p.grad for name, p in model.module.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_data_parallel_gradients_are_the_mean_of_the_processes(tmp_path):
    model = frozen_front()
    losses = [contrastive_loss(model(videos(4)[s], texts(*WORDS[s]))) for s in (slice(0, 2), slice(2, 4))]
    (sum(losses) / 2).backward()
    expected = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    found = in_two(tmp_path, gradients)
    assert set(found) == set(expected)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=name)
