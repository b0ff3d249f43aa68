"""The audit log's lines: each carries the hash of everything before it and a keyed seal over that hash.

A line is one JSON object. Its ``hash`` is SHA-256 over the previous line's hash and this line's own bytes, its
``seal`` a keyed BLAKE2b (RFC 7693) over the hash. So a changed, moved or missing line breaks the chain where it
happens, and nobody without the key can mend it. What neither shows is a tail that was cut off, or a whole log written
anew by somebody who has the key: those are found against *anchors*, copies of one line's number and hash kept out of
reach.

The module makes lines and anchors; core/audit_verify reads them. It knows no file and no clock.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

GENESIS = "0" * 64  # what the first line of a log chains to
KEY_BYTES = 32
SEAL_BYTES = 16
_TAIL = len(b',"hash":"') + 64 + len(b'","seal":"') + 2 * SEAL_BYTES + len(b'"}')
_encoder = msgspec.json.Encoder(decimal_format="string")


class Sealed(NamedTuple):
    """A finished line, without its newline, and the hash the next one chains to."""

    line: bytes
    hash: str


class Taken(NamedTuple):
    """A line taken apart: its own bytes, the hash and the seal it carries."""

    body: bytes
    hash: str
    seal: str


class Anchor(NamedTuple):
    """One line's number and hash, as they were at ``at_us`` (UTC). ``log`` names the log it was taken from."""

    log: str
    seq: int
    hash: str
    at_us: int


def link(previous: str, body: bytes) -> str:
    """The hash of a line, from the previous line's."""
    return hashlib.sha256(previous.encode("ascii") + body).hexdigest()


def seal_of(key: bytes, line_hash: str) -> str:
    return hashlib.blake2b(line_hash.encode("ascii"), key=key, digest_size=SEAL_BYTES).hexdigest()


def sealed(record: dict[str, Any], previous: str, key: bytes) -> Sealed:
    """The line of a record. ``record`` begins with its number, ``seq``, and holds no ``hash`` and no ``seal``."""
    body = _encoder.encode(record)
    line_hash = link(previous, body)
    return Sealed(
        b'%b,"hash":"%b","seal":"%b"}' % (body[:-1], line_hash.encode(), seal_of(key, line_hash).encode()), line_hash
    )


def taken(line: bytes) -> Taken | None:
    """The parts of a line (without its newline); None where it is no line of this form."""
    cut = len(line) - _TAIL
    if (
        cut < 1
        or line[cut : cut + 9] != b',"hash":"'
        or line[cut + 73 : cut + 83] != b'","seal":"'
        or line[-2:] != b'"}'
    ):
        return None
    try:
        line_hash = line[cut + 9 : cut + 73].decode("ascii")
        seal = line[cut + 83 : -2].decode("ascii")
    except UnicodeDecodeError:
        return None
    return Taken(line[:cut] + b"}", line_hash, seal)
