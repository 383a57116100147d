"""Text from outside: cleaning a server's words before they are shown or stored, and network environment variables.

Needs no packages, so that `longvid doctor` can use it if none are installed.
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
"""Length from which a key is removed from messages and replies: shorter ones (x, EMPTY) are placeholders and may be
words of an answer."""
SURROGATES = re.compile("[\ud800-\udfff]")
CONTROLS = re.compile("\x1b\\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
REORDERING = re.compile("[\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
CERTIFICATE_FILE, CERTIFICATE_FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


def clean(text: str, secrets: Sequence[str] = (), *, controls: bool = True) -> str:
    """Make text encodable as UTF-8 and remove secrets; with `controls`, also remove terminal control codes."""
    for secret in secrets:
        text = text.replace(secret, REMOVED)
    text = SURROGATES.sub(REPLACEMENT, text)
    return CONTROLS.sub(REPLACEMENT, text) if controls else text


def one_line(text: str, secrets: Sequence[str] = (), longest: int = LONGEST_LINE) -> str:
    """Format text for a message: cleaned, on one line, without bidirectional overrides, and short."""
    shown = " ".join(clean(text, secrets).split())
    shown = REORDERING.sub(REPLACEMENT, shown)
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def secrets_of(key: str | None, address: str) -> tuple[str, ...]:
    """Return all forms in which a server could echo a key or an address's password, which must never be shown.

    Longest first, so that removing one leaves no part of another.
    """
    found = {key} if key else set()
    login = split_login(address)[1]
    if password := login.partition(":")[2]:
        found |= {password, unquote(password), basic(login)}
    found |= {quote(secret, safe="") for secret in found if SURROGATES.search(secret) is None}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=lambda s: (-len(s), s)))


def shown_address(address: str) -> str:
    """Return an address as messages show it: no user name, password, query or fragment."""
    return one_line(re.split(r"[?#]", split_login(address)[0], maxsplit=1)[0])


def is_this_machine(address: str) -> bool:
    """Whether an address is this machine's own, which no proxy can reach."""
    try:
        host = urlsplit(address).hostname or ""
        number = None if "localhost" in host else ipaddress.ip_address(host)
    except ValueError:
        return False
    if number is None:
        return host == "localhost" or host.endswith(".localhost")
    return number.is_loopback or number.is_unspecified


def proxy_variables() -> list[str]:
    """Return the environment variables that name a proxy."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return sorted(name for name, value in os.environ.items() if value and name.lower() in names)


def check_certificates() -> None:
    """Raise ModelError, naming the variable, if the environment points to missing certificates."""
    file, folder = os.environ.get(CERTIFICATE_FILE), os.environ.get(CERTIFICATE_FOLDER)
    if file:
        try:
            Path(file).open("rb").close()
        except OSError as error:
            raise unread_certificates(error) from error
    elif folder and not any(Path(part).is_dir() for part in folder.split(os.pathsep)):
        raise ModelError(f"{CERTIFICATE_FOLDER}={one_line(folder)} is not a folder: name one, or unset the variable")


def unread_certificates(error: OSError) -> ModelError:
    """Return an error that says why the trusted certificates can't be read, and which variable names them."""
    file = os.environ.get(CERTIFICATE_FILE)
    where = f"{CERTIFICATE_FILE}={one_line(file)}" if file else "the system"
    why = one_line(error.strerror or str(error))
    return ModelError(f"{where} has no certificates that can be read ({why}): let {CERTIFICATE_FILE} name a PEM file")


def split_login(address: str) -> tuple[str, str]:
    """Split an address into itself without login and the `user:password`, whose password may hold any character."""
    scheme, separator, rest = address.strip().rpartition("://")
    login, _, rest = rest.rpartition("@")
    return f"{scheme}{separator}{rest}", login


def basic(login: str) -> str:
    """Encode `user:password` for HTTP basic authentication."""
    return base64.b64encode(unquote(login).encode("utf-8", "replace")).decode("ascii")
