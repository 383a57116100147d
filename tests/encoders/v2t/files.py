"""A video-to-text file with its encoder and language model beside it, untrained but whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from encoders.causal_lm.load import read_named
from encoders.config import preset
from encoders.dual import build_encoder
from encoders.tokens import byte_tokenizer as encoder_tokenizer
from encoders.v2t.model import build_connector, config_for
from encoders.v2t.weights import Part, lm_part, save_video_to_text
from encoders.weights import save_encoder
from tests.encoders.causal_lm.tiny import byte_tokenizer, llama

LM_FOLDER = "tiny-llama"
ENCODER = "long.safetensors"


def write_lm(folder: Path) -> str:
    """A language model's folder below `folder`; its spec."""
    lm = llama()
    lm.config.max_position_embeddings = 1024
    lm.save_pretrained(folder / LM_FOLDER)
    byte_tokenizer().save_pretrained(folder / LM_FOLDER)
    return f"transformers:{folder / LM_FOLDER}"


def write_all(folder: Path, *, preset_name: str = "longvivit-tiny", gate: float = 1.5, seed: int = 0) -> Path:
    """`v2t.safetensors`, `long.safetensors` and `tiny-llama/` in `folder`; the first one's path."""
    config = preset(preset_name)
    digest = save_encoder(build_encoder(config, seed=seed), encoder_tokenizer(), folder / ENCODER)
    spec = write_lm(folder)
    lm = read_named(spec, dtype="float32", device="cpu")
    shape = replace(config_for(config.vision, lm.model.config), depth=1, latents=4, cross_heads=4)
    connector = build_connector(shape, seed=1)
    for layer in connector.video_layers:
        if layer.gate is not None:
            layer.gate.data.fill_(gate)
    save_video_to_text(connector, Part(ENCODER, digest), lm_part(spec, lm), folder / "v2t.safetensors")
    return folder / "v2t.safetensors"
