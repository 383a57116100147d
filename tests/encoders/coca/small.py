"""A tiny CoCa whose weights come from names and a seed, so that any library version builds the same one."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

VOCABULARY, CONTEXT, SIZE = 64, 24, 32
START, END, PAD = 62, 63, 0
CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {
        "image_size": SIZE,
        "layers": 2,
        "width": 64,
        "head_width": 16,
        "patch_size": 8,
        "attentional_pool": True,
        "attn_pooler_queries": 9,
        "attn_pooler_heads": 4,
        "output_tokens": True,
    },
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 4,
        "layers": 2,
        "embed_cls": True,
        "output_tokens": True,
    },
    "multimodal_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 32,
        "heads": 4,
        "layers": 2,
        "attn_pooler_heads": 4,
    },
}


def small_coca(seed: int = 0, **changes: Any) -> Any:
    """An open_clip CoCa in float32 with `changes` to its config."""
    from open_clip.coca_model import CoCa

    model = CoCa(**{**CONFIG, **changes}).eval()
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            draw = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal(tuple(tensor.shape))
            # Strong enough in what looks at the image that different images get different captions.
            scale = 0.8 if "cross_attn" in name or "attn_pool" in name else 0.3
            tensor.copy_(torch.from_numpy(np.asarray(scale * draw)) + float("ln_" in name and name.endswith("weight")))
    return model


def images(count: int, seed: int = 0) -> torch.Tensor:
    """Normalised pixels [count, 3, SIZE, SIZE]."""
    draw = np.random.default_rng([seed, 1]).standard_normal((count, 3, SIZE, SIZE))
    return torch.from_numpy(draw).float()


def write_coca(folder: Path, seed: int = 0) -> str:
    """A tiny CoCa of random weights with CLIP's whole vocabulary, as open_clip names it: `local-dir:PATH`."""
    words = {"vocab_size": 49408}
    config = {
        **CONFIG,
        "text_cfg": {**CONFIG["text_cfg"], **words},
        "multimodal_cfg": {**CONFIG["multimodal_cfg"], **words},
    }
    folder.mkdir(parents=True)
    cfg = {"model_cfg": {**config, "custom_text": True}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(cfg), encoding="utf-8")
    model = small_coca(seed, **{key: value for key, value in config.items() if key != "embed_dim"})
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
