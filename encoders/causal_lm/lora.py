"""LoRA adapters (arXiv 2106.09685, peft's) on a frozen causal language model.

On disk: `NAME.safetensors` holds only the adapter, `NAME.json` its shape, and the language model that it
belongs to by name and SHA-256; that model is never copied.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from encoders.causal_lm.load import CausalLM
from encoders.config import Bounds, ConfigError, check_bounds, read_dataclass, read_json
from encoders.weights import check_fit, config_path, read_shapes, read_tensors, save_tensors
from tasks.digests import file_sha256
from tasks.errors import ModelError

ADAPTER = "default"
MARK = ".lora_"


@dataclass(frozen=True, slots=True)
class LoraShape:
    """Rank, scale (`alpha / rank`) and the adapted linear layers, by the last part of their names (our choice)."""

    rank: Annotated[int, Bounds(1, 4096)] = 8
    alpha: Annotated[int, Bounds(1, 1 << 20)] = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")

    def __post_init__(self) -> None:
        """Refuse shapes that can't be built. Raises ModelError."""
        check_bounds(self, "LoRA")
        if not self.targets or not all(target.strip() for target in self.targets):
            raise ConfigError("LoRA: targets names no layers")


@dataclass(frozen=True, slots=True)
class LoraDescription:
    """The JSON beside an adapter."""

    lm: str
    lm_sha256: str
    lora: LoraShape


def add_lora(model: nn.Module, shape: LoraShape, *, seed: int = 0) -> None:
    """Freeze a model and add new adapters, which change nothing yet.

    They are float32 whatever the model is: updates below bfloat16's resolution would be lost. Raises ModelError
    if the model has no layer of the named kinds.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError("LoRA needs peft: pip install 'longvid[video]'") from error
    model.requires_grad_(requires_grad=False)
    config = LoraConfig(r=shape.rank, lora_alpha=shape.alpha, target_modules=list(shape.targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model, adapter_name=ADAPTER)
        except ValueError as error:
            raise ModelError(f"LoRA: the model has no layers {', '.join(shape.targets)}") from error
    for parameter in lora_parameters(model).values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_()


def lora_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return the adapters' parameters by name."""
    return {
        name.replace(f".{ADAPTER}.", "."): parameter for name, parameter in model.named_parameters() if MARK in name
    }


def save_lora(lm: CausalLM, shape: LoraShape, path: Path) -> str:
    """Write the two files and return the adapter's digest. Raises ModelError unless `path` is a .safetensors."""
    check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(lora_parameters(lm.model), path)
    text = json.dumps(dataclasses.asdict(LoraDescription(lm.name, lm.digest, shape)), indent=2)
    config_path(path).write_text(text + "\n", encoding="utf-8")
    return file_sha256(path)


def load_lora(lm: CausalLM, path: Path) -> str:
    """Load a saved adapter into a language model, strictly, and return the adapter's digest.

    Raises ModelError naming the missing or damaged file, or what differs: the language model, a tensor.
    """
    description = read_description(path)
    if description.lm_sha256 != lm.digest:
        raise ModelError(
            f"{path} was trained on the language model {description.lm} with SHA-256 {description.lm_sha256[:16]}…; "
            f"{lm.name} is another ({lm.digest[:16]}…)"
        )
    rank = description.lora.rank
    adapters = {name: shape for name, shape in read_shapes(path).items() if MARK in name}
    # Checked before adapters of the claimed rank are allocated; other tensors of wrong shape are named below.
    if adapters and not any(rank in shape for shape in adapters.values()):
        name, shape = next(iter(adapters.items()))
        raise ModelError(f"{path} does not match the rank {rank} in {config_path(path).name}: {name} is {shape}")
    tensors = read_tensors(path)
    add_lora(lm.model, description.lora)
    own = lora_parameters(lm.model)
    check_fit(own, tensors, str(path))
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])
    lm.model.requires_grad_(requires_grad=False)
    return file_sha256(path)


def read_description(path: Path) -> LoraDescription:
    """Read the description of an adapter. Raises ModelError naming the missing or damaged file."""
    check_suffix(path)
    beside = config_path(path)
    for file in (path, beside):
        if not file.is_file():
            raise ModelError(f"LoRA adapter {path}: there is no {file}")
    return read_dataclass(LoraDescription, read_json(beside), str(beside))


def check_suffix(path: Path) -> None:
    """Raise ModelError unless the path is that of a .safetensors file."""
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: a LoRA adapter is a .safetensors file; others are not read")
