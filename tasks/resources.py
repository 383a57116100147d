"""Package data, wherever the package is installed, and the cache folder."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from tasks.errors import DataError

CACHE_VARIABLE = "LONGVID_CACHE"


def resource(package: str, *parts: str) -> Path:
    """Return the path of a file or folder inside a package."""
    return Path(str(files(package).joinpath(*parts)))


def cache_folder() -> Path:
    """Return the folder of derived files: `LONGVID_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("longvid")


def file_or_shipped(given: Path, folder: Path, what: str, suffix: str = ".toml") -> Path:
    """Find a file by its path, or by its name in `folder`, with or without its suffix.

    Both `kitchen-tiny` and `configs/pretrain/kitchen-tiny.toml`, its path in earlier clones, are found.
    Raises DataError listing the known names.
    """
    if given.exists():
        return given
    inside = folder / f"{given.name.removesuffix(suffix)}{suffix}"
    if inside.is_file():
        return inside
    known = ", ".join(sorted(path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}")))
    msg = f"there is no {what} {given}; name a file, or one of those that come with longvid: {known}"
    raise DataError(msg)
