"""Video-to-text on disk: `NAME.safetensors` holds only what was trained, `NAME.json` describes it.

The encoder and the language model are named with the SHA-256 of their weights, and never copied.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from encoders.causal_lm.load import TRANSFORMERS, CausalLM, read_named
from encoders.config import read_dataclass, read_json
from encoders.v2t.model import Connector, VideoToTextConfig
from encoders.weights import check_shapes, config_path, load_strict, read_shapes, read_tensors, save_tensors
from tasks.digests import file_sha256
from tasks.errors import ModelError


@dataclass(frozen=True, slots=True)
class Part:
    """A frozen model that the trained weights belong to.

    `name` is an encoder's weights file (`long.safetensors`) or model string, or a language model's
    spec (`smollm2`, `transformers:NAME`).
    """

    name: str
    sha256: str

    def check(self, found: str, what: str, place: str, file: Path) -> None:
        """Raise ModelError unless `found` is the digest of training."""
        if found != self.sha256:
            raise ModelError(
                f"{file} was trained on the {what} {self.name} with SHA-256 {self.sha256[:16]}…; {place} is another "
                f"({found[:16]}…)"
            )


@dataclass(frozen=True, slots=True)
class Description:
    """The JSON beside the weights: the connector's shape and the two models it was trained on."""

    config: VideoToTextConfig
    encoder: Part
    lm: Part


def save_video_to_text(
    connector: Connector, encoder: Part, lm: Part, path: Path, dtype: torch.dtype = torch.float32
) -> str:
    """Write the two files, weights as `dtype`, and return the digest.

    Raises ModelError unless `path` is a .safetensors.
    """
    _check_suffix(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors({name: tensor.to(dtype) for name, tensor in connector.state_dict().items()}, path)
    text = json.dumps(asdict(Description(connector.config, encoder, lm)), indent=2)
    config_path(path).write_text(text + "\n", encoding="utf-8")
    return file_sha256(path)


def read_description(path: Path) -> Description:
    """Read the description of a weights file. Raises ModelError naming the missing or damaged file."""
    _check_suffix(path)
    beside = config_path(path)
    if not path.is_file():
        raise ModelError(f"no weights at {path}")
    if not beside.is_file():
        raise ModelError(f"{path} has no description beside it: expected {beside.name}")
    return read_dataclass(Description, read_json(beside), str(beside))


def load_connector(path: Path, description: Description) -> Connector:
    """Load the trained weights strictly, in float32. Raises ModelError naming what differs from the description."""
    shapes = read_shapes(path)
    with torch.device("meta"):
        connector = Connector(description.config)
    check_shapes(connector.state_dict(), shapes, str(path))
    connector = connector.to_empty(device="cpu")
    load_strict(connector, read_tensors(path), str(path))
    return connector.eval()


def _check_suffix(path: Path) -> None:
    if path.suffix != ".safetensors":
        raise ModelError(f"{path}: weights are .safetensors files; others are not read")


def find_encoder(part: Part, folders: Sequence[Path], file: Path) -> Path:
    """Find the encoder's weights in one of `folders`: by name, else by digest.

    Raises ModelError that says where they were looked for and what was there.
    """
    looked = ", ".join(str(folder) for folder in folders)
    if not part.name.endswith(".safetensors"):
        raise ModelError(
            f"{file} was trained on the encoder {part.name}, which does not ship with longvid: name that model, with "
            f"-M v2t={file}"
        )
    named = [folder / part.name for folder in folders if (folder / part.name).is_file()]
    others = [path for folder in folders for path in sorted(folder.glob("*.safetensors")) if path not in (*named, file)]
    for path in (*named, *others):
        if file_sha256(path) == part.sha256:
            return path
    if named:
        part.check(file_sha256(named[0]), "encoder", str(named[0]), file)
    raise ModelError(
        f"{file} was trained on the encoder {part.name} with SHA-256 {part.sha256[:16]}…, which is not in {looked}: "
        "put it there, or name its folder with -M parts=FOLDER"
    )


def open_lm(part: Part, spec: str | None, folders: Sequence[Path], file: Path, dtype: str, device: str) -> CausalLM:
    """Open the language model by `spec` if given, else by its recorded name; its folder may be in `folders`.

    Raises ModelError if it can't be opened or has another digest.
    """
    chosen = spec or _local(part.name, folders) or part.name
    try:
        lm = read_named(chosen, dtype=dtype, device=device)
    except ModelError as error:
        raise ModelError(
            f"{file} was trained on the language model {part.name}: {error}; name another place with -M lm="
        ) from error
    part.check(lm.digest, "language model", chosen, file)
    return lm


def lm_part(spec: str, lm: CausalLM) -> Part:
    """Describe a language model for a checkpoint: a folder by its own name, so that it can be moved."""
    kind, _, source = spec.partition(":")
    local = kind == TRANSFORMERS and Path(source).expanduser().exists()
    return Part(f"{kind}:{Path(source).expanduser().resolve().name}" if local else spec, lm.digest)


def _local(name: str, folders: Sequence[Path]) -> str | None:
    kind, _, source = name.partition(":")
    if kind != TRANSFORMERS or not source:
        return None
    found = next((folder / source for folder in folders if (folder / source).exists()), None)
    return None if found is None else f"{kind}:{found}"
