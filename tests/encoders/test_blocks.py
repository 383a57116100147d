import pytest
import torch
from torch.nn import functional

from encoders.vit import attend


@pytest.mark.parametrize("tokens", [16, 384, 400])
def test_attention_in_bfloat16_training_is_sdpas(tokens):
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(3, 2, 4, tokens, 16, generator=generator)
    ours, reference = whole.bfloat16().requires_grad_(), whole.clone().requires_grad_()
    out, expected = attend(*ours), functional.scaled_dot_product_attention(*reference)
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.02)
    for result in (out, expected):
        result.float().square().sum().backward()
    torch.testing.assert_close(ours.grad.float(), reference.grad, rtol=0.1, atol=0.02)


def test_attention_without_gradients_is_sdpa_itself():
    q, k, v = torch.randn(3, 2, 4, 16, 16).bfloat16()
    assert torch.equal(attend(q, k, v), functional.scaled_dot_product_attention(q, k, v))
