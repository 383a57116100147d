import math

import pytest
import torch

from encoders.dual import DualOutput, contrastive_loss, similarities
from tests.encoders.small import encoder, texts, videos


def unit(rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=-1)


def test_vectors_have_unit_length_and_the_scale_is_one_over_the_temperature():
    out = encoder()(videos(), texts())
    torch.testing.assert_close(out.video.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(out.text.norm(dim=1), torch.ones(2))
    assert out.scale.item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_the_scale_stops_at_100():
    model = encoder()
    torch.nn.init.constant_(model.log_scale, 10.0)
    assert model.scale.item() == pytest.approx(100)


def test_similarities_are_scaled_cosines_of_every_video_with_every_text():
    out = DualOutput(unit([[1, 0], [0, 2], [1, 1]]), unit([[3, 0], [0, 1]]), torch.tensor(2.0))
    half = 2 * math.sqrt(0.5)
    torch.testing.assert_close(similarities(out), torch.tensor([[2.0, 0.0], [0.0, 2.0], [half, half]]))


def test_the_loss_of_indistinguishable_pairs_is_log_of_the_batch():
    same = unit([[1, 0]] * 5)
    assert contrastive_loss(DualOutput(same, same, torch.tensor(9.0))).item() == pytest.approx(math.log(5))


def test_the_loss_counts_both_directions():
    out = DualOutput(unit([[1, 0], [1, 0]]), unit([[1, 0], [0, 1]]), torch.tensor(1.0))
    columns = math.log(2)  # every text sees two equal videos
    rows = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert contrastive_loss(out).item() == pytest.approx((rows + columns) / 2, rel=1e-5)


@pytest.mark.parametrize("log_scale", [math.log(100), math.log(100) + 0.01, 6.0])
def test_the_scale_has_a_gradient_at_its_ceiling(log_scale):
    model = encoder()
    torch.nn.init.constant_(model.log_scale, log_scale)
    model.scale.backward()
    assert model.scale.item() == pytest.approx(100)
    assert model.log_scale.grad.item() == pytest.approx(100)
