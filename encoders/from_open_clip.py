"""Convert any open_clip ViT to an ImageViT, or inflate it to a video tower that agrees with it on still videos.

Still videos are exact because of the 2D kernel repeated over time and divided, time positions that
start at zero, one class token per time step, and pooling that averages over the steps. The
projection follows the pool, as in open_clip. Towers of open_clip's `VisionTransformer` and
CLIP text transformer are converted; timm and Hugging Face towers inside open_clip are refused by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from encoders.config import EncoderConfig, TextConfig, VisionConfig, foreign_file, read_json
from encoders.dual import DualEncoder, build_encoder
from encoders.tokens import TextTokenizer, as_text_tokenizer
from encoders.vit import flatten_convolution, inflate
from encoders.weights import check_finite, load_strict, read_shapes
from tasks.errors import ModelError

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""How CLIP splits text before merging (MIT-licensed, OpenAI CLIP)."""


def convert_tokenizer(tokenizer: Any, name: str) -> TextTokenizer:  # noqa: ANN401 - an untyped library
    """Rebuild open_clip's SimpleTokenizer. Raises ModelError for its other tokenizers.

    open_clip's initial repair of broken Unicode and HTML entities is left out.
    """
    if type(tokenizer).__name__ != "SimpleTokenizer":
        raise ModelError(f"{name}: cannot convert a tokenizer of type {type(tokenizer).__name__}, only CLIP's BPE")
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    merges = [(str(first), str(second)) for first, second in tokenizer.bpe_ranks]
    bpe = models.BPE(vocab=dict(tokenizer.encoder), merges=merges, end_of_word_suffix="</w>")
    converted = Tokenizer(bpe)
    converted.normalizer = normalizers.Sequence(
        [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip(), normalizers.Lowercase()]
    )
    converted.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    converted.decoder = decoders.ByteLevel()
    return as_text_tokenizer(converted, name)


Attention = Literal["frame", "joint", "factorized"]
LOCAL, HUB = "local-dir:", "hf-hub:"
CONFIGURATION = "open_clip_config.json"
FOREIGN_TOWERS = (("vision_cfg", "timm_model_name"), ("text_cfg", "hf_model_name"), ("text_cfg", "hf_tokenizer_name"))
"""Keys by which open_clip uses towers and tokenizers of libraries that may run a model's own code."""
MOST = 1 << 30
SIZES = {
    "embed_dim": 32_768,
    "width": 32_768,
    "layers": 512,
    "heads": 1024,
    "head_width": 4096,
    "patch_size": 1024,
    "image_size": 8192,
    "context_length": 1 << 20,
    "vocab_size": 1 << 22,
    "mlp_ratio": 64,
}
"""Greatest sizes in a configuration (our choice), as in encoders.config."""
TextActivation = Literal["gelu", "quick_gelu", "gelu_tanh"]


@dataclass(frozen=True, slots=True)
class Inflation:
    """How frames are joined: "frame" gives the ImageViT, the others a video tower of tubelets."""

    attention: Attention = "frame"
    frames: int = 16
    tubelet: int = 2


def from_open_clip(
    name: str, pretrained: str | None = None, inflation: Inflation = Inflation()
) -> tuple[DualEncoder, TextTokenizer]:
    """Build from `ViT-B-16` and a tag or a .safetensors file, `local-dir:PATH`, or `hf-hub:ORG/REPO`.

    Raises ModelError as `load_open_clip` does, or if the model has a tower that can't be converted.
    """
    loaded = load_open_clip(name, pretrained)
    encoder = convert_model(loaded.model, name, inflation)
    if loaded.quick_gelu is not None and (encoder.config.vision.activation == "quick_gelu") != loaded.quick_gelu:
        raise ModelError(
            f"the weights '{pretrained}' of {name} were trained with {'quick' if loaded.quick_gelu else 'exact'} GELU: "
            f"choose the open_clip model {'with' if loaded.quick_gelu else 'without'} '-quickgelu' in its name"
        )
    return encoder, convert_tokenizer(loaded.tokenizer, name)


@dataclass(frozen=True, slots=True)
class OpenClipModel:
    """An open_clip model with its tokenizer; `quick_gelu` is what its weights need, None if unknown."""

    model: Any
    tokenizer: Any
    quick_gelu: bool | None


def load_open_clip(name: str, pretrained: str | None = None) -> OpenClipModel:
    """Let open_clip build `name`; hub names download on first use.

    Raises ModelError if open_clip is missing, has no such model or offers its weights only as a pickle.
    """
    open_clip = _open_clip()
    gelu = _check_source(open_clip, name, pretrained)
    _check_towers(open_clip, name)
    with foreign_file(f"open_clip cannot load '{name}'"):
        model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(name)
    check_finite(dict(model.named_parameters()), name)
    return OpenClipModel(model, tokenizer, gelu)


def convert_model(model: nn.Module, name: str, inflation: Inflation = Inflation()) -> DualEncoder:
    """Convert an open_clip model, its weights included. Raises ModelError for other kinds of towers."""
    vision, vision_state = _vision(model, name, inflation)
    text, text_state = _text(model, name)
    state = {**vision_state, **text_state}
    scale: Tensor = _part(model, "logit_scale")
    config = EncoderConfig(
        f"{name} ({inflation.attention})",
        vision,
        text,
        len(state["vision_proj.weight"]),
        math.exp(-scale.item()),
    )
    state["log_scale"] = scale.detach().reshape(1)
    encoder = build_encoder(config)
    load_strict(encoder, {key: value.detach().float() for key, value in state.items()}, name)
    return encoder.eval()


def _open_clip() -> Any:  # noqa: ANN401 - an untyped library
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:
        raise ModelError(
            f"open_clip models need open_clip and torchvision ({error}): pip install 'longvid[openclip]'"
        ) from error
    return open_clip


def _check_source(open_clip: Any, name: str, pretrained: str | None) -> bool | None:  # noqa: ANN401
    """Check that safetensors will be read; return whether the tag's weights need quick-GELU, if known."""
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        if not any(folder.glob("*.safetensors")):
            raise ModelError(f"{folder} holds no .safetensors weights; pickled ones are not read")
        _check_weights(_chosen(open_clip, folder))
        return None
    if name.startswith(HUB):
        _check_weights(open_clip.download_pretrained_from_hf(name.removeprefix(HUB)))
        return None
    if pretrained is None:
        raise ModelError(f"open_clip model '{name}' needs pretrained=TAG or a .safetensors file")
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        known = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        if not Path(pretrained).is_file():
            raise ModelError(f"open_clip has no weights '{pretrained}' for '{name}'; known are {known or 'none'}")
        _check_weights(pretrained)
        return None
    try:
        _check_weights(open_clip.download_pretrained(tag))
    except OSError as error:
        other = "Or name a file of weights: -M pretrained=FILE.safetensors"
        raise ModelError(f"cannot download '{pretrained}' of {name}: {error} {other}") from error
    return bool(tag.get("quick_gelu", False))


def _check_towers(open_clip: Any, name: str) -> None:  # noqa: ANN401
    """Raise ModelError for towers that open_clip would build with code of a model's own, or that don't fit in memory.

    The configuration of a folder or a hub name is untrusted; the model that it describes is checked against its weights
    before anything is allocated.
    """
    foreign = name.startswith((LOCAL, HUB))
    content, weights = _configuration(open_clip, name) if foreign else (open_clip.get_model_config(name), None)
    content = content or {}
    for tower, key in FOREIGN_TOWERS:
        if isinstance(content.get(tower), dict) and content[tower].get(key):
            raise ModelError(f"{name}: cannot convert a tower or tokenizer of another library's ({tower}: {key})")
    if weights is None:
        return
    _check_numbers(content, name)
    shapes = read_shapes(weights)
    layers = sum(part.get("layers", 0) for part in content.values() if isinstance(part, dict))
    if isinstance(layers, int) and layers > len(shapes):
        raise ModelError(f"{name}: its configuration has {layers} layers, but {weights} has {len(shapes)} tensors")
    # open_clip builds in memory and moves the model afterwards, whatever device it is given.
    with foreign_file(f"open_clip cannot build '{name}' from its configuration"), torch.device("meta"):
        described = open_clip.create_model(name, load_weights=False, device="meta")
    asked, held = (
        sum(p.numel() for p in described.parameters()),
        sum(math.prod(shape) for shape in shapes.values()),
    )
    if asked > 2 * held:  # tables of positions may be stretched
        raise ModelError(f"{name}: its configuration asks for {asked} numbers, but {weights} holds {held}")


def _configuration(open_clip: Any, name: str) -> tuple[dict[str, Any], Path]:  # noqa: ANN401
    """Return the model's part of `open_clip_config.json`, and the weights that open_clip uses with it."""
    if name.startswith(LOCAL):
        folder = Path(name.removeprefix(LOCAL))
        path, weights = folder / CONFIGURATION, Path(_chosen(open_clip, folder))
    else:
        with foreign_file(f"open_clip cannot load '{name}'"):
            path = Path(open_clip.factory.download_pretrained_from_hf(name.removeprefix(HUB), filename=CONFIGURATION))
            weights = Path(open_clip.download_pretrained_from_hf(name.removeprefix(HUB)))
    content = read_json(path, ours=False)
    model = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise ModelError(f"{path}: model_cfg is missing, or not an object")
    return model, weights


def _chosen(open_clip: Any, folder: Path) -> str:  # noqa: ANN401
    """Return the file that open_clip chooses if a folder holds several: by name, so it may be a pickle."""
    return str(open_clip.factory._find_checkpoint_in_dir(folder))  # noqa: SLF001 - no public name


def _check_numbers(content: object, where: str) -> None:
    """Raise ModelError, naming the key, for a number out of range."""
    parts = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in parts:
        _check_numbers(value, f"{where}: {key}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and not -MOST <= value <= MOST:
            raise ModelError(f"{where}: {key} is {str(value)[:40]}, which is too large or not a number")
        if number and key in SIZES and not 1 <= value <= SIZES[key]:
            raise ModelError(f"{where}: {key} is {str(value)[:40]}, which is not from 1 to {SIZES[key]}")


def _check_weights(path: str) -> None:
    if Path(path).suffix != ".safetensors":
        raise ModelError(f"{path} is a pickle; only .safetensors weights are read")


def _part(module: nn.Module, name: str) -> Any:  # noqa: ANN401 - an untyped library
    return getattr(module, name, None)


def _vision(model: nn.Module, name: str, inflation: Inflation) -> tuple[VisionConfig, dict[str, Tensor]]:
    visual = _part(model, "visual")
    if type(visual).__name__ != "VisionTransformer":
        raise ModelError(f"{name}: cannot convert a vision tower of type {type(visual).__name__}, only open_clip's ViT")
    config = _vision_config(visual, name, inflation)
    state = {
        "image.proj.weight": flatten_convolution(visual.conv1.weight),
        "image.proj.bias": torch.zeros(config.width),
        "positions.space": visual.positional_embedding[1:],
        "class_token": visual.class_embedding + visual.positional_embedding[0],
        "pool.norm.weight": visual.ln_post.weight,
        "pool.norm.bias": visual.ln_post.bias,
        **_blocks(visual.transformer.resblocks, name),
    }
    if config.pre_norm:
        state |= {"pre_norm.weight": visual.ln_pre.weight, "pre_norm.bias": visual.ln_pre.bias}
    if config.pool == "attention":
        state |= _attention_pool(visual.attn_pool)
    if config.patches == "tubelet":
        state["video.0.proj.weight"] = inflate(state["image.proj.weight"], config.tubelet)
        state["video.0.proj.bias"] = state["image.proj.bias"]
        state["positions.time"] = torch.zeros(config.steps, config.width)
    if config.attention == "factorized":
        state |= _temporal(state, config.depth)
    named = {f"vision.{key}": value for key, value in state.items()}
    return config, {**named, "vision_proj.weight": visual.proj.T}


def _vision_config(visual: Any, name: str, inflation: Inflation) -> VisionConfig:  # noqa: ANN401
    pooled = visual.attn_pool is not None
    if visual.pool_type not in ("tok", "avg") or (pooled and visual.pool_type != "tok"):
        raise ModelError(f"{name}: cannot convert pooling of type '{visual.pool_type}'")
    block = visual.transformer.resblocks[0]
    width = visual.conv1.out_channels
    return VisionConfig(
        width=width,
        depth=len(visual.transformer.resblocks),
        heads=block.attn.num_heads,
        mlp=block.mlp.c_fc.out_features,
        size=square_side(visual.image_size, name),
        patch=square_side(visual.patch_size, name),
        tubelet=inflation.tubelet,
        frames=inflation.frames,
        attention=inflation.attention,
        patches="image" if inflation.attention == "frame" else "tubelet",
        pool="attention" if pooled else {"tok": "class", "avg": "mean"}[visual.pool_type],  # type: ignore[arg-type]  # mypy widens the dictionary's literals
        pool_width=visual.ln_post.weight.shape[0] if pooled else None,
        pool_heads=visual.attn_pool.attn.num_heads if pooled else 8,
        class_token=True,
        pre_norm=isinstance(visual.ln_pre, nn.LayerNorm),
        norm_after_pool=visual.final_ln_after_pool and not pooled,
        activation=_activation(block, name),
        eps=visual.ln_post.eps,
        pixel_mean=channels(visual, "image_mean", VisionConfig.__dataclass_fields__["pixel_mean"].default),
        pixel_std=channels(visual, "image_std", VisionConfig.__dataclass_fields__["pixel_std"].default),
    )


def channels(visual: Any, name: str, default: Any) -> tuple[float, float, float]:  # noqa: ANN401
    """Return the tower's `image_mean` or `image_std`, else the default."""
    first, second, third = getattr(visual, name, None) or default
    return float(first), float(second), float(third)


def square_side(sides: tuple[int, int], name: str) -> int:
    """Return the side of a square. Raises ModelError for other shapes."""
    if sides[0] != sides[1]:
        raise ModelError(f"{name}: {sides[0]} by {sides[1]} pixels is not square, which positions here need")
    return int(sides[0])


def _activation(block: Any, name: str) -> TextActivation:  # noqa: ANN401
    act = block.mlp.gelu
    if type(act).__name__ == "QuickGELU":
        return "quick_gelu"
    if isinstance(act, nn.GELU):
        return "gelu_tanh" if act.approximate == "tanh" else "gelu"
    raise ModelError(f"{name}: cannot convert activation {type(act).__name__}")


def _blocks(blocks: Any, name: str) -> dict[str, Tensor]:  # noqa: ANN401
    state: dict[str, Tensor] = {}
    for number, block in enumerate(blocks):
        if type(block).__name__ != "ResidualAttentionBlock" or hasattr(block, "ln_1_kv"):
            raise ModelError(f"{name}: cannot convert a block of type {type(block).__name__}")
        first, second = _gain(block.ls_1), _gain(block.ls_2)
        parts = {
            "norm1.weight": block.ln_1.weight,
            "norm1.bias": block.ln_1.bias,
            "attn.qkv.weight": block.attn.in_proj_weight,
            "attn.qkv.bias": block.attn.in_proj_bias,
            "attn.proj.weight": block.attn.out_proj.weight * first[..., None],
            "attn.proj.bias": block.attn.out_proj.bias * first,
            "norm2.weight": block.ln_2.weight,
            "norm2.bias": block.ln_2.bias,
            "mlp.fc1.weight": block.mlp.c_fc.weight,
            "mlp.fc1.bias": block.mlp.c_fc.bias,
            "mlp.fc2.weight": block.mlp.c_proj.weight * second[..., None],
            "mlp.fc2.bias": block.mlp.c_proj.bias * second,
        }
        state |= {f"blocks.{number}.{key}": value for key, value in parts.items()}
    return state


def _gain(layer_scale: nn.Module) -> Tensor:
    """Return the gain of a LayerScale, to be folded into the linear layer before it."""
    gamma = getattr(layer_scale, "gamma", None)
    return gamma if isinstance(gamma, Tensor) else torch.ones(1)


def _attention_pool(pool: Any) -> dict[str, Tensor]:  # noqa: ANN401
    attn = pool.attn
    if attn.in_proj_weight is None:
        weights = (attn.q_proj_weight, attn.k_proj_weight, attn.v_proj_weight)
    else:
        weights = attn.in_proj_weight.chunk(3)
    biases = attn.in_proj_bias.chunk(3)
    state = {
        "query": pool.query[:1],  # queries do not see each other, and only the first is the image's
        "norm_q.weight": pool.ln_q.weight,
        "norm_q.bias": pool.ln_q.bias,
        "norm_kv.weight": pool.ln_k.weight,
        "norm_kv.bias": pool.ln_k.bias,
        "proj.weight": attn.out_proj.weight,
        "proj.bias": attn.out_proj.bias,
    }
    for letter, weight, bias in zip("qkv", weights, biases, strict=True):
        state |= {f"{letter}.weight": weight, f"{letter}.bias": bias}
    return {f"pool.attention.{key}": value for key, value in state.items()}


def _temporal(state: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Initialise temporal attention from the spatial one, with its gate at zero (paper, FST)."""
    copies: dict[str, Tensor] = {}
    for number in range(depth):
        copies[f"blocks.{number}.alpha"] = torch.zeros(1)
        for kind, ending in (("norm1", "norm_time"), ("attn", "attn_time")):
            start = f"blocks.{number}.{kind}."
            copies |= {
                f"blocks.{number}.{ending}.{key.removeprefix(start)}": value
                for key, value in state.items()
                if key.startswith(start)
            }
    return copies


def _text(model: nn.Module, name: str) -> tuple[TextConfig, dict[str, Tensor]]:
    text: Any = getattr(model, "text", model)
    pool = getattr(text, "text_pool_type", getattr(text, "pool_type", None))
    supported = pool in ("argmax", "eos") and getattr(text, "cls_emb", None) is None
    if not supported or getattr(text, "attn_mask", None) is None:
        raise ModelError(f"{name}: cannot convert its text tower, only CLIP's causal one with end-token pooling")
    block = text.transformer.resblocks[0]
    context, width = text.positional_embedding.shape
    config = TextConfig(
        kind="clip",
        width=width,
        depth=len(text.transformer.resblocks),
        heads=block.attn.num_heads,
        mlp=block.mlp.c_fc.out_features,
        vocabulary=text.token_embedding.num_embeddings,
        context=context,
        activation=_activation(block, name),
        eps=text.ln_final.eps,
    )
    state = {
        "embedding.weight": text.token_embedding.weight,
        "positions": text.positional_embedding,
        "norm.weight": text.ln_final.weight,
        "norm.bias": text.ln_final.bias,
        **_blocks(text.transformer.resblocks, name),
    }
    named = {f"text.{key}": value for key, value in state.items()}
    return config, {**named, "text_proj.weight": _projection(text.text_projection, name)}


def _projection(projection: object, name: str) -> Tensor:
    if isinstance(projection, Tensor):
        return projection.T
    weight = getattr(projection, "weight", None)
    if isinstance(weight, Tensor) and getattr(projection, "bias", None) is None:
        return weight
    raise ModelError(f"{name}: its text projection is not a matrix without bias")
