"""What comes from outside: a server's words before they are shown or stored, and the environment's about networks.

Needs no package, so that `longvid doctor` can use it where none is installed.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tasks.errors import ModelError

REPLACEMENT = "\ufffd"
REMOVED = "***"
LONGEST_LINE = 300
SHORTEST_SECRET, SURE_SECRET = 4, 8
"""Characters from which a key is removed from messages, and from replies: short ones (x, EMPTY) are placeholders, and
may be words of an answer."""
SURROGATES = re.compile("[\ud800-\udfff]")
CONTROLS = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
REORDERING = re.compile("[\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
CERTIFICATE_FILE, CERTIFICATE_FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def clean(text: str, secrets: Sequence[str] = (), *, controls: bool = True) -> str:
    """Text that UTF-8 can hold, without the secrets; with `controls`, without codes that act on a terminal."""
    for secret in secrets:
        text = text.replace(secret, REMOVED)
    text = SURROGATES.sub(REPLACEMENT, text)
    return CONTROLS.sub(REPLACEMENT, text) if controls else text


def one_line(text: str, secrets: Sequence[str] = (), longest: int = LONGEST_LINE) -> str:
    """Text for a message: cleaned, on one line, in the order that is read, and short."""
    shown = " ".join(clean(text, secrets).split())
    shown = REORDERING.sub(REPLACEMENT, shown)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def secrets_of(key: str | None, address: str) -> tuple[str, ...]:
    """What must never be shown of a key and of the password in an address, in every way that a server could echo them.

    Longest first, so that none is left over within another.
    """
    found = {key} if key else set()
    login = split_login(address)[1]
    if password := login.partition(":")[2]:
        found |= {password, unquote(password), basic(login)}
    found |= {quote(secret, safe="") for secret in found if SURROGATES.search(secret) is None}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=lambda s: (-len(s), s)))


def shown_address(address: str) -> str:
    """An address as messages show it: no user name, password, query or fragment."""
    return one_line(re.split(r"[?#]", split_login(address)[0], maxsplit=1)[0])


def is_this_machine(address: str) -> bool:
    """Whether an address is of this machine itself, which no proxy can reach for it."""
    try:
        host = urlsplit(address).hostname or ""
        number = None if "localhost" in host else ipaddress.ip_address(host)
    except ValueError:
        return False
    if number is None:
        return host == "localhost" or host.endswith(".localhost")
    return number.is_loopback or number.is_unspecified


def proxy_variables() -> list[str]:
    """The environment variables that name a proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return sorted(name for name, value in os.environ.items() if value and name.lower() in names)


def check_certificates() -> None:
    """Raise ModelError, naming the variable, where the environment points to certificates that are not there."""
    file, folder = os.environ.get(CERTIFICATE_FILE), os.environ.get(CERTIFICATE_FOLDER)
    if file:
        try:
            Path(file).open("rb").close()
        except OSError as error:
            raise unread_certificates(error) from error
    elif folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise ModelError(f"{CERTIFICATE_FOLDER}={one_line(folder)} is not a folder: name one, or unset the variable")


def unread_certificates(error: OSError) -> ModelError:
    """Why the certificates that servers are checked against can't be read, and which variable names them."""
    file = os.environ.get(CERTIFICATE_FILE)
    where = f"{CERTIFICATE_FILE}={one_line(file)}" if file else "the system"
    why = one_line(error.strerror or str(error))
    return ModelError(f"{where} has no certificates that can be read ({why}): let {CERTIFICATE_FILE} name a PEM file")


def split_login(address: str) -> tuple[str, str]:
    """An address without its login, and the `user:password` as written, whose password may hold any character."""
    scheme, separator, rest = address.strip().rpartition("://")
    login, _, rest = rest.rpartition("@")
    return f"{scheme}{separator}{rest}", login


def basic(login: str) -> str:
    """What HTTP's basic authentication sends for `user:password`."""
    return base64.b64encode(unquote(login).encode("utf-8", "replace")).decode("ascii")
