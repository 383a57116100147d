"""Detect truncated media files by their container structure, as after a broken download.

FFmpeg silently reads such a file to its end, and the length in a header proves nothing: audio may be longer than the
video, and a last frame may stay for minutes. But every block of a container states its length.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from io import SEEK_END
from pathlib import Path
from typing import IO

_TAIL = 1 << 18
_MATROSKA_SEGMENT, _MATROSKA_CLUSTER = 0x18538067, 0x1F43B675
# Time stamp, block, group, and what else may be among them where a cluster's length is unknown.
_MATROSKA_IN_CLUSTERS = {0xE7, 0xA3, 0xA0, 0xAB, 0xA7, 0xAF, 0x5854, 0xEC, 0xBF}
# The header, and all that a segment may hold.
_MATROSKA_ELEMENTS = _MATROSKA_IN_CLUSTERS | {
    *(0x1A45DFA3, _MATROSKA_SEGMENT, _MATROSKA_CLUSTER, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B),
    *(0x1941A469, 0x1043A770, 0x1254C367, 0x1B538667),
}
_OGG_PAGE, _OGG_HEADER = b"OggS", 27
_PS_PACK, _PS_END = b"\0\0\x01\xba", 0xB9
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Packet sizes of transport streams, with the position of the sync byte in a packet.
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))
_TS_SYNC = 0x47
_NEVER_FILLED_IN = (0, 0xFFFFFFFF)
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_FLV_TAGS = {8, 9, 18}
_FLV_DURATION = b"\0\x08duration\0"
# FFmpeg ignores the length in an ASF header whose file size is not the actual one.
_UNTOLD = {"ogg", "mpeg", "mpegts", "asf"}


def is_cut_off(path: Path, container: str) -> bool:
    """Whether the file ends within a block of its container (FFmpeg's name); False if that is unknown."""
    check = next((check for name, check in _CHECKS.items() if name in container.split(",")), None)
    if check is None:
        return False
    with path.open("rb") as file:
        return check(file, os.fstat(file.fileno()).st_size)


def tells_length(path: Path, container: str) -> bool:
    """Whether the header holds the length of the whole file; otherwise FFmpeg estimates it from the content."""
    names = container.split(",")
    with path.open("rb") as file:
        if "flv" in names:
            _, named, value = file.read(_TAIL).partition(_FLV_DURATION)
            # It stays zero in a live recording.
            return bool(named) and any(value[:8])
        if "mp4" not in names:
            return not _UNTOLD.intersection(names)
        return all(kind != b"moof" for kind, _ in _boxes(file, os.fstat(file.fileno()).st_size))


def _boxes(file: IO[bytes], size: int) -> Iterator[tuple[bytes, int]]:
    """Yield kind and end of each top-level box of an MP4 file, as far as they can be followed."""
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - at  # the last box, to the end of the file
        if len(header) >= 8 and length < 8:
            return  # padding after the last box
        at += max(length, 8)
        yield header[4:8], at


def _boxes_cut(file: IO[bytes], size: int) -> bool:
    """Check MP4 and related formats: a sequence of boxes, each with its size."""
    return any(end > size for _, end in _boxes(file, size))


def _chunks_cut(file: IO[bytes], size: int) -> bool:
    """Check AVI: RIFF chunks, several if the file is long."""
    at = 0
    while at + 12 <= size:
        file.seek(at)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != b"RIFF" or length in _NEVER_FILLED_IN:
            return False
        at += 8 + length
    return at > size


def _elements_cut(file: IO[bytes], size: int) -> bool:
    """Check Matroska and WebM: nested elements; those of unknown length (live recordings) are descended into."""
    at = 0
    while at < size:
        file.seek(at)
        header = file.read(12)
        number, number_length = _vint(header, keep_marker=True)
        length, length_length = _vint(header[number_length:], keep_marker=False)
        if number_length == 0 or length_length == 0:
            return len(header) < 12
        at += number_length + length_length
        unknown = length == (1 << 7 * length_length) - 1
        if number == _MATROSKA_SEGMENT and not unknown:
            return at + length > size
        if unknown and number not in {_MATROSKA_SEGMENT, _MATROSKA_CLUSTER}:
            return False
        at += 0 if unknown else length
    return at > size


def breaks_at(path: Path, container: str) -> int | None:
    """Return the byte from which the blocks of a file no longer follow each other; None if they do, or it is unknown.

    That is where the last sound block begins before bytes that are missing, doubled or moved. In these containers
    FFmpeg passes over such bytes in silence and goes on as soon as it understands some again.
    """
    check = next((check for name, check in _BREAKS.items() if name in container.split(",")), None)
    status = path.stat()
    return None if check is None else _first_break(path, check, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _first_break(
    path: Path,
    check: Callable[[IO[bytes], int], int | None],
    size: int,
    changed: int,  # noqa: ARG001 - part of the cache's key
) -> int | None:
    with path.open("rb") as file:
        return check(file, size)


def _elements_break(file: IO[bytes], size: int) -> int | None:
    at = last = 0
    end = size
    while at < end:
        file.seek(at)
        header = file.read(12)
        number, number_length = _vint(header, keep_marker=True)
        length, length_length = _vint(header[number_length:], keep_marker=False)
        if len(header) < 12:
            return None
        if number not in _MATROSKA_ELEMENTS or length_length == 0:
            return last
        if number not in _MATROSKA_IN_CLUSTERS:
            last = at
        at += number_length + length_length
        unknown = length == (1 << 7 * length_length) - 1
        if number == _MATROSKA_SEGMENT:
            end = size if unknown else min(size, at + length)
        elif not (unknown and number == _MATROSKA_CLUSTER):
            at += length
    return None


def _tags_break(file: IO[bytes], size: int) -> int | None:
    """Check FLV: after every tag its length is told again."""
    at = last = 9  # the header; a length of 0 follows
    before = 0
    while at + 15 <= size:
        file.seek(at)
        header = file.read(15)
        if int.from_bytes(header[:4], "big") != before or header[4] & 0x1F not in _FLV_TAGS:
            return last
        last = at
        before = 11 + int.from_bytes(header[5:8], "big")
        at += 4 + before
    return None


def _data_packets_break(file: IO[bytes], size: int) -> int | None:
    """Check ASF and WMV: packets of one size, which begin alike."""
    file.seek(0)
    head = file.read(_TAIL)
    told, data = head.find(_ASF_FILE_PROPERTIES), head.find(_ASF_DATA)
    length = int.from_bytes(head[told + 92 : told + 96], "little")
    if told < 0 or data < 0 or not length:
        return None
    packets = int.from_bytes(head[data + 40 : data + 48], "little")
    at = first = data + 50
    end = min(size, first + packets * length) if packets else size
    start = head[first : first + 1]
    while at + length <= end:
        file.seek(at)
        if file.read(1) != start:
            return max(first, at - length)
        at += length
    return None


def _vint(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Read a variable-length number and its size in bytes: 0 if `data` holds none."""
    if not data or data[0] == 0:
        return 0, 0
    length = 9 - data[0].bit_length()
    if length > len(data):
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), length


def _last_tag_cut(file: IO[bytes], size: int) -> bool:
    """Check FLV: every tag is followed by its length."""
    if size < 24:
        return True
    file.seek(size - 4)
    length = int.from_bytes(file.read(4), "big")
    if not 11 <= length <= size - 13:
        return True
    file.seek(size - 4 - length)
    header = file.read(4)
    return header[0] & 0x1F not in _FLV_TAGS or int.from_bytes(header[1:], "big") + 11 != length


def _last_page_cut(file: IO[bytes], size: int) -> bool:
    """Check Ogg: pages, whose headers list the lengths of their segments."""
    tail = _tail(file, size)
    at = tail.rfind(_OGG_PAGE)
    page = tail[at:] if at >= 0 else b""
    if len(page) < _OGG_HEADER or len(page) < _OGG_HEADER + page[26]:
        return True
    return len(page) < _OGG_HEADER + page[26] + sum(page[_OGG_HEADER : _OGG_HEADER + page[26]])


def _last_packet_cut(file: IO[bytes], size: int) -> bool:
    """Check MPEG program streams: from the last pack on, packets with their lengths."""
    tail = _tail(file, size)
    at = tail.rfind(_PS_PACK)
    if at < 0:
        return False
    is_mpeg2 = tail[at + 4 : at + 5] >= b"\x40"
    at += 14 + (tail[at + 13] & 7 if len(tail) > at + 13 else 0) if is_mpeg2 else 12
    while at + 4 <= len(tail):
        if tail[at : at + 3] != b"\0\0\x01":
            return False
        if tail[at + 3] == _PS_END:
            return False
        at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
    return at != len(tail)


def _packets_cut(file: IO[bytes], size: int) -> bool:
    """Check MPEG transport streams: packets of one size."""
    file.seek(0)
    head = file.read(4 * 204)
    for length, sync in _TS_PACKETS:
        if len(head) >= 3 * length and all(head[sync + i * length] == _TS_SYNC for i in range(3)):
            return size % length != 0
    return False


def _shorter_than_told(file: IO[bytes], size: int) -> bool:
    """Check ASF and WMV: the header holds the file's size, or zero for a live stream."""
    file.seek(0)
    head = file.read(_TAIL)
    at = head.find(_ASF_FILE_PROPERTIES)
    return at >= 0 and int.from_bytes(head[at + 40 : at + 48], "little") > size


def _tail(file: IO[bytes], size: int) -> bytes:
    file.seek(-min(size, _TAIL), SEEK_END)
    return file.read()


_CHECKS: dict[str, Callable[[IO[bytes], int], bool]] = {
    "mp4": _boxes_cut,
    "avi": _chunks_cut,
    "matroska": _elements_cut,
    "flv": _last_tag_cut,
    "ogg": _last_page_cut,
    "mpeg": _last_packet_cut,
    "mpegts": _packets_cut,
    "asf": _shorter_than_told,
}
_BREAKS: dict[str, Callable[[IO[bytes], int], int | None]] = {
    "matroska": _elements_break,
    "flv": _tags_break,
    "asf": _data_packets_break,
}
