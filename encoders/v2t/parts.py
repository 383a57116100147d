"""Finding the two frozen models that a video-to-text file names, and making sure that they are the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from encoders.causal_lm.load import TRANSFORMERS, CausalLM, read_named
from encoders.v2t.weights import Part
from tasks.digests import file_sha256
from tasks.errors import ModelError


def find_encoder(part: Part, folders: Sequence[Path], file: Path) -> Path:
    """The encoder's weights in one of `folders`: under its own name, else whichever has its digest.

    Raises ModelError that says where was looked and what lay there.
    """
    looked = ", ".join(str(folder) for folder in folders)
    if not part.name.endswith(".safetensors"):
        raise ModelError(
            f"{file} was trained on the encoder {part.name}, which is no file of ours: name that model, with "
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
    """The language model by `spec` where given, else by its own name; a folder of that name may lie in `folders`.

    Raises ModelError when it is not to be had or has another digest.
    """
    chosen = spec or _local(part.name, folders) or part.name
    try:
        lm = read_named(chosen, dtype=dtype, device=device)
    except ModelError as error:
        raise ModelError(
            f"{file} was trained on the language model {part.name}: {error}; another place is named with -M lm="
        ) from error
    part.check(lm.digest, "language model", chosen, file)
    return lm


def lm_part(spec: str, lm: CausalLM) -> Part:
    """How a checkpoint names its language model: a folder by its own name, so that it may move."""
    kind, _, source = spec.partition(":")
    local = kind == TRANSFORMERS and Path(source).expanduser().exists()
    return Part(f"{kind}:{Path(source).expanduser().resolve().name}" if local else spec, lm.digest)


def _local(name: str, folders: Sequence[Path]) -> str | None:
    kind, _, source = name.partition(":")
    if kind != TRANSFORMERS or not source:
        return None
    found = next((folder / source for folder in folders if (folder / source).exists()), None)
    return None if found is None else f"{kind}:{found}"
