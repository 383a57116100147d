"""Files that survive a crash, and folders that one process at a time writes to."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tasks.errors import RecordError

LOCK = ".lock"
READABLE = 0o644
_DISK_FAULTS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically."""
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path in `folder` (default: the same folder), which is moved to `path` once it is on disk.

    The move is also on disk when the context ends; if writing fails, `path` is unchanged, and the error names it.
    """
    with _naming(path):
        handle, name = tempfile.mkstemp(dir=folder or path.parent, prefix=f".{path.name}.")
        with _moved(Path(name), path):
            os.close(handle)
            yield Path(name)
    sync_folder(path.parent)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name `path` in errors of writing it: a full disk names no file, and a temporary name says nothing."""
    try:
        yield
    except OSError as error:
        temporary = error.filename is not None and Path(os.fsdecode(error.filename)).name.startswith(f".{path.name}.")
        if temporary or (error.filename is None and error.errno in _DISK_FAULTS):
            error.filename = str(path)
        raise


@contextmanager
def _moved(unfinished: Path, path: Path) -> Iterator[None]:
    try:
        yield
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.chmod(READABLE)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's names to disk: until then a new or renamed file may be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems don't support this for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def open_in_place(path: Path, flags: int = 0) -> IO[bytes]:
    """Open a folder's own file for reading and writing, creating it if needed and never truncating it.

    A folder from elsewhere may hold links, and writing through a link would change the file that it points to.

    Args:
        path: The file.
        flags: More flags of `os.open`, such as `os.O_APPEND`.

    Returns:
        The open file, at its start.

    Raises:
        RecordError: The path is a link, or not a file.
        OSError: The file can't be opened.
    """
    follow = 0 if path.is_char_device() else os.O_NOFOLLOW
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC | follow | flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            msg = f"{path} is a link, and nothing is written through links; put a file in its place, or delete it"
            raise RecordError(msg) from None
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise RecordError(f"{path} is not a file; delete it") from None
        raise
    mode = os.fstat(handle).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        os.close(handle)
        raise RecordError(f"{path} is not a file; delete it")
    return os.fdopen(handle, "r+b")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second process out of a folder; the lock ends with the process, however it ends.

    Raises:
        RecordError: Another process holds the folder, or its lock file is a link.
    """
    with open_in_place(folder / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"{folder} is in use by another longvid process"
            raise RecordError(msg) from None
        yield
