"""Files that come with the package, wherever it is installed, and the folder of what is derived from others."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from tasks.errors import DataError

CACHE_VARIABLE = "LONGVID_CACHE"


def resource(package: str, *parts: str) -> Path:
    """The place of a file or folder inside a package."""
    return Path(str(files(package).joinpath(*parts)))


def cache_folder() -> Path:
    """Where derived files are kept: `LONGVID_CACHE`, or the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("longvid")


def file_or_shipped(given: Path, folder: Path, what: str) -> Path:
    """A file by its path, or the one in `folder` of that name, with or without its suffix.

    So `kitchen-tiny` and `configs/pretrain/kitchen-tiny.toml`, its path in earlier clones, are both found.
    Raises DataError naming those there are.
    """
    if given.exists():
        return given
    inside = folder / f"{given.name.removesuffix('.toml')}.toml"
    if inside.is_file():
        return inside
    known = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    msg = f"there is no {what} {given}; name a file, or one of those that come with longvid: {known}"
    raise DataError(msg)
