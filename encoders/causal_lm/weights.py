"""Weight files: which ones a model folder holds, their digest, and where derived ones are kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import platformdirs

from encoders.config import read_json
from tasks.digests import file_sha256
from tasks.errors import ModelError

CACHE_VARIABLE = "LONGVID_CACHE"


def cache_folder() -> Path:
    """Where derived files are kept: `LONGVID_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("longvid")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a transformers folder, sorted by name. Raises ModelError if incomplete."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        content = read_json(index, ours=False)
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
            raise ModelError(
                f"{index} is not an index of safetensors files: it has no table 'weight_map' of file names"
            )
        names = sorted(set(places.values()))
        if strange := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
            raise ModelError(f"{index} names '{strange[0][:60]}', which is no safetensors file of its folder")
    else:
        names = ["model.safetensors"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model folder {folder} lacks {', '.join(missing)}")
    return tuple(folder / name for name in names)


def weights_sha256(files: tuple[Path, ...]) -> str:
    """A single file's own digest, or the digest of all files' "digest  name" lines."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()
