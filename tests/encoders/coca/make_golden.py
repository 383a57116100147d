"""Writes `greedy_golden.json` by open_clip's own `CoCa.generate`, which needs a transformers older than 4.57.

pip install --no-deps --target OLD transformers==4.56.2 'huggingface-hub<1' 'tokenizers<0.23'
PYTHONPATH=OLD:. python -m tests.encoders.coca.make_golden
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tests.encoders.coca.small import END, PAD, START, images, small_coca

FILE = Path(__file__).parent / "greedy_golden.json"
SEEDS, MIN_LENGTHS, SEQ_LEN = (40, 41, 42), (1, 6), 16


def greedy(seed: int, min_seq_len: int) -> dict[str, Any]:
    """Token ids of six images' captions by sampling from the single likeliest token."""
    tokens = small_coca(seed).generate(
        images(6, seed),
        generation_type="top_k",
        top_k=1,
        seq_len=SEQ_LEN,
        min_seq_len=min_seq_len,
        sot_token_id=START,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return {"seed": seed, "min_seq_len": min_seq_len, "tokens": tokens.tolist()}


if __name__ == "__main__":
    torch.manual_seed(0)
    made_by = (
        f"open_clip {version('open_clip_torch')} CoCa.generate(generation_type='top_k', top_k=1), "
        f"transformers {version('transformers')}"
    )
    cases = [greedy(seed, length) for seed in SEEDS for length in MIN_LENGTHS]
    FILE.write_text(json.dumps({"made_by": made_by, "seq_len": SEQ_LEN, "cases": cases}), encoding="utf-8")
