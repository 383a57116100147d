"""A file on the web that is read piece by piece: of an archive, only what is wanted travels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE = 8 << 20
CHUNK = 1 << 16
TIMEOUT = (30, 120)
ATTEMPTS = 3
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WebFile(io.RawIOBase):
    """Reads by HTTP ranges; `size` is what the server says. Raises OSError when the server can't do that."""

    def __init__(self, url: str, headers: Mapping[str, str] = NO_HEADERS) -> None:
        import requests
        from requests.adapters import HTTPAdapter

        super().__init__()
        self._url = url
        self._session = requests.Session()
        self._session.headers.update(headers)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=ATTEMPTS))
        self._position = 0
        self.size = self._total()

    def _total(self) -> int:
        content_range = self._range(0, 1)[1]
        total = content_range.rpartition("/")[2]
        if not total.isdigit():
            msg = f"{self._url} does not tell its size"
            raise OSError(msg)
        return int(total)

    def _range(self, start: int, end: int) -> tuple[bytes, str]:
        """Bytes [start, end) and what the server says about them."""
        wanted = {"Range": f"bytes={start}-{end - 1}"}
        response = self._session.get(self._url, headers=wanted, timeout=TIMEOUT, stream=True)
        with response:
            response.raise_for_status()
            if response.status_code != 206:
                msg = f"{self._url} is on a server that sends whole files only (HTTP {response.status_code})"
                raise OSError(msg)
            data = bytearray()
            for chunk in response.iter_content(CHUNK):
                data += chunk
                if len(data) > end - start:
                    msg = f"{self._url} is on a server that sends more than it is asked for"
                    raise OSError(msg)
            return bytes(data), response.headers.get("Content-Range", "")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self.size)
        if end <= self._position:
            return 0
        data, _ = self._range(self._position, end)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._session.close()
        super().close()


def open_web(url: str, headers: Mapping[str, str] = NO_HEADERS) -> IO[bytes]:
    """The file, read in pieces of 8 MiB. Raises OSError."""
    return io.BufferedReader(WebFile(url, headers), PIECE)
