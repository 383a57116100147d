"""What each of torch's attention kernels takes for a shape, where the device has it: flash, cuDNN, efficient, plain.

The towers pass no mask and ask for none of them by name: SDPA takes the best that applies.
"""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from encoders.bench.clock import median_seconds
from encoders.config import VisionConfig
from encoders.kernels import token_count

KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "plain": SDPBackend.MATH,
}


def attention_seconds(config: VisionConfig, device: torch.device, repeats: int) -> dict[str, float | None]:
    """Seconds of one layer's attention for one video in bf16 by kernel; None where the device lacks it.

    `chosen` is what SDPA takes by itself.
    """
    tokens = token_count(config, config.frames, config.size, config.size)
    shape = (1, config.heads, tokens, config.width // config.heads)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16) for _ in range(3))

    @torch.inference_mode()
    def attend() -> object:
        return scaled_dot_product_attention(q, k, v)

    seconds: dict[str, float | None] = {"chosen": median_seconds(attend, device, repeats)}
    for name, kernel in KERNELS.items():
        try:
            with sdpa_kernel(kernel):
                seconds[name] = median_seconds(attend, device, repeats)
        except RuntimeError:  # no such kernel here; out of memory, which the plain one may run into, is one too
            seconds[name] = None
    return seconds
