"""Side by side with transformers' ViViT of the same shape, in turn, on this machine."""

import statistics
import time

import pytest
import torch

from encoders.config import VisionConfig
from encoders.dual import initialise
from encoders.vit import VisionTower, sample_keep
from tests.encoders.small import generator, videos
from tests.encoders.vivit import vivit_of

SHAPE = VisionConfig(width=768, depth=4, heads=12, mlp=3072, frames=16)


def in_turn(calls, rounds=5):
    """Median seconds of each call, all of them once in every round."""
    seconds = [[] for _ in calls]
    for number in range(rounds + 1):
        for call, times in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            if number:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in seconds]


@pytest.fixture(scope="module")
def tower():
    module = VisionTower(SHAPE)
    initialise(module)
    return module.eval()


@pytest.mark.slow
@torch.inference_mode()
def test_a_bf16_forward_is_at_least_as_fast_as_transformers_vivit(tower):
    reference = vivit_of(tower).to(torch.bfloat16)
    own = tower.to(torch.bfloat16)
    pixels = videos(1, 16, 224)

    def theirs():
        scaled = ((pixels / 255 - 0.5) / 0.25).movedim(-1, 2).to(torch.bfloat16)
        return reference(scaled)

    ours_seconds, theirs_seconds = in_turn([lambda: own(pixels), theirs])
    assert ours_seconds <= theirs_seconds


@pytest.mark.slow
def test_masking_three_quarters_makes_a_training_step_at_least_twice_as_fast(tower):
    own = tower.to(torch.float32)
    pixels = videos(1, 16, 224)
    keep = sample_keep(SHAPE, (1, 16, 224, 224), 0.75, generator())
    dense, masked = in_turn(
        [lambda: own(pixels).pooled.sum().backward(), lambda: own(pixels, keep).pooled.sum().backward()], 3
    )
    assert dense >= 2 * masked
