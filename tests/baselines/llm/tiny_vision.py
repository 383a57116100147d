"""Video language models of every type that is promised, built from a config with random weights: no hub is asked.

Their tokenizer reads bytes, so that any text has tokens. What they say means nothing, but depends on every pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from encoders.causal_lm.load import dense_folder
from encoders.causal_lm.smollm2 import find_smollm2
from lab.bench.vision_language import byte_tokenizer, chat_template, mrope, vision_ids
from tasks.digests import file_sha256

HEADS, HEAD = 4, 16
"""How many attention heads a language model has, and how wide each is; engines take some widths only."""
LAYERS = {
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
SIDE, PATCH = 28, 14
SMOLVLM = {
    "image_token": "<image>",
    "video_token": "<video>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}


def layers(head: int) -> dict[str, Any]:
    return {**LAYERS, "hidden_size": HEADS * head}


def sections(head: int) -> list[int]:
    """Of the head's pairs of numbers a quarter for time, the rest for height and width."""
    return [head // 8, 3 * head // 16, 3 * head // 16]


def write_qwen2_5_vl(out: Path, *, head: int = HEAD) -> None:
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = byte_tokenizer({"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}, *QWEN)
    config = Qwen2_5_VLConfig(
        text_config={
            **layers(head), "vocab_size": len(tokenizer),
            "rope_parameters": {**mrope(sections(head)), "mrope_interleaved": False},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": HEADS * head,
            "patch_size": PATCH, "fullatt_block_indexes": [1], "window_size": 56,
        },
        **vision_ids(tokenizer),
    )  # fmt: skip
    sizes = {"size": {"shortest_edge": SIDE * SIDE, "longest_edge": 10**7}, "patch_size": PATCH}
    processor = Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen2VLVideoProcessor(**sizes), chat_template=chat_template(*PADS)
    )
    save(Qwen2_5_VLForConditionalGeneration(config), processor, out)


def write_qwen3_vl(out: Path, *, head: int = HEAD) -> None:
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = byte_tokenizer({"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}, *QWEN)
    config = Qwen3VLConfig(
        text_config={
            **layers(head), "head_dim": head, "vocab_size": len(tokenizer), "rope_parameters": mrope(sections(head)),
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": HEADS * head,
            "patch_size": PATCH, "num_position_embeddings": 64, "deepstack_visual_indexes": [0],
        },
        **vision_ids(tokenizer),
    )  # fmt: skip
    # Of pictures and videos alike, as published: vLLM takes the pictures' for both.
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    sizes = {"size": {"shortest_edge": SIDE * SIDE, "longest_edge": 10**7}, "patch_size": PATCH, **half}
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**sizes), tokenizer, Qwen3VLVideoProcessor(**sizes),
        chat_template=chat_template("<|video_pad|>", PADS[1]),
    )  # fmt: skip
    save(Qwen3VLForConditionalGeneration(config), processor, out)


def write_smolvlm(out: Path, *, head: int = HEAD) -> None:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    tokenizer = byte_tokenizer(SMOLVLM)
    config = SmolVLMConfig(
        text_config={**layers(head), "model_type": "llama", "vocab_size": len(tokenizer)},
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 56, "patch_size": PATCH,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    longest = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 56}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**longest, do_image_splitting=False), tokenizer,
        SmolVLMVideoProcessor(**longest, num_frames=8, fps=1), image_seq_len=4,
        chat_template=chat_template("<video>", "<image>"),
    )  # fmt: skip
    save(SmolVLMForConditionalGeneration(config), processor, out)


def write_seeing_smollm2(out: Path) -> None:
    """SmolLM2 behind a small tower of random weights: it has to be taught to look."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    gguf = find_smollm2()
    speaks_in = dense_folder(gguf, file_sha256(gguf), torch.float32)
    speaks = AutoModelForCausalLM.from_pretrained(speaks_in, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(speaks_in)
    tokenizer.add_special_tokens({"additional_special_tokens": list(SMOLVLM.values())})
    for name, text in SMOLVLM.items():
        setattr(tokenizer, name, text)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(text))
    torch.manual_seed(0)
    config = SmolVLMConfig(
        text_config=speaks.config.to_dict(),
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = SmolVLMForConditionalGeneration(config)
    model.model.text_model.load_state_dict(speaks.model.state_dict())
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(out)
    longest = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 64}}
    SmolVLMProcessor(
        SmolVLMImageProcessor(**longest, do_image_splitting=False), tokenizer,
        SmolVLMVideoProcessor(**longest, num_frames=8, fps=1), image_seq_len=4,
        chat_template=chat_template("<video>", "<image>"),
    ).save_pretrained(out)  # fmt: skip


def write_llava_onevision(out: Path, *, head: int = HEAD) -> None:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    tokenizer = byte_tokenizer({"image_token": "<image>", "video_token": "<video>"})
    side = {"height": 56, "width": 56}
    config = LlavaOnevisionConfig(
        text_config={**layers(head), "model_type": "qwen2", "vocab_size": len(tokenizer)},
        vision_config={
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 56, "patch_size": PATCH, "vision_use_head": False,
        },
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=[[56, 56]],
    )  # fmt: skip
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=side, image_grid_pinpoints=[[56, 56]]), tokenizer,
        LlavaOnevisionVideoProcessor(size=side), num_image_tokens=16, vision_feature_select_strategy="full",
        chat_template=chat_template("<video>\n", "<image>\n"),
    )  # fmt: skip
    save(LlavaOnevisionForConditionalGeneration(config), processor, out)


def write_internvl(out: Path, *, head: int = HEAD) -> None:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    tokenizer = byte_tokenizer(
        {
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        }
    )
    side = {"height": 56, "width": 56}
    config = InternVLConfig(
        text_config={**layers(head), "model_type": "qwen2", "vocab_size": len(tokenizer)},
        vision_config={
            "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": [56, 56], "patch_size": [PATCH, PATCH],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )  # fmt: skip
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=side, crop_to_patches=False, max_patches=1), tokenizer,
        InternVLVideoProcessor(size=side), image_seq_length=4,
        chat_template=chat_template("<video>\n", "<IMG_CONTEXT>\n"),
    )  # fmt: skip
    save(InternVLForConditionalGeneration(config), processor, out)


QWEN = ("<|vision_start|>", "<|vision_end|>")
PADS = ("<|vision_start|><|video_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|vision_end|>")


def save(model: Any, processor: Any, out: Path) -> None:
    """Weights large enough that what a model says depends on what it is shown."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                scale = 1.0 if "embed_tokens" in name else 1.6 / parameter[0].numel() ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(out)
    processor.save_pretrained(out)


WRITERS: Mapping[str, Callable[..., None]] = {
    "qwen2_5_vl": write_qwen2_5_vl,
    "qwen3_vl": write_qwen3_vl,
    "smolvlm": write_smolvlm,
    "llava_onevision": write_llava_onevision,
    "internvl": write_internvl,
}


@dataclass(frozen=True)
class TinyModel:
    """A type of model and the folder of a tiny one of it."""

    kind: str
    folder: Path
