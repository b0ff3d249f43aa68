"""A request as it leaves for a venue: the value that operations build, signers sign and callers send.

Also the few readings of such a request that need no profile: its path, its query, its form. Refuses to know who sends
it, when, and where the host is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec

from jackstay_protocols.errors import ValidationError

Pairs = list[tuple[str, str]]
Headers = list[tuple[bytes, bytes]]

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

FORM = b"application/x-www-form-urlencoded"
JSON = b"application/json"
FIELDS_MAX = 512  # a batch of the largest venue has under a hundred; more is an attack


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """``target``: path with its query, or a whole URL; ``headers`` without Host and Content-Length.

    ``signed``: with the agent's own key, so it can be signed anew.
    """

    method: str
    target: str
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    signed: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        # query, headers and body carry keys and signatures
        return f"OutgoingRequest({self.method} {self.path}, {len(self.body)} bytes)"

    def header(self, name: bytes) -> bytes:
        """The value of a header, compared without case; empty if there is none."""
        low = name.lower()
        return next((value for each, value in self.headers if each.lower() == low), b"")

    @property
    def query(self) -> str:
        return self.target.partition("?")[2].partition("#")[0]

    @property
    def path(self) -> str:
        """The path as it stands, without query and without scheme and host."""
        bare = self.target.partition("?")[0].partition("#")[0]
        return urlsplit(bare).path if "://" in bare else bare

    @property
    def is_form(self) -> bool:
        """Its body is a form: it says so, or says nothing and does not look like JSON."""
        kind = self.header(b"content-type").lower()
        return FORM in kind or (not kind and self.body[:1] not in (b"{", b"["))


def json_document(body: bytes) -> Any:
    """A JSON document with fractions as Decimal, digit for digit. Raises ValueError."""
    try:
        return _decoder.decode(body)
    except (ValueError, RecursionError, InvalidOperation) as error:  # msgspec's errors are ValueErrors
        raise ValueError(f"no JSON document: {type(error).__name__}") from None


def json_bytes(document: Any) -> bytes:
    """The document without blanks, Decimals as numbers."""
    return _encoder.encode(document)


def pairs_of(text: str | bytes) -> Pairs:
    """The names and values of a query or a form. Raises ValidationError if it is none."""
    try:
        plain = text.decode("utf-8") if isinstance(text, bytes) else text
        return parse_qsl(plain, keep_blank_values=True, strict_parsing=bool(plain), max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise ValidationError(f"a form or query of 'name=value' pairs is expected: {error}") from None


def encoded(pairs: Iterable[tuple[str, str]]) -> str:
    """A query or form. Blanks become %20, which every venue reads; '+' is not, inside a signed query."""
    return "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)


def without(text: str, names: frozenset[str]) -> str:
    """The same query or form, byte for byte, without the pairs of these names."""
    kept = [pair for pair in text.split("&") if pair and pair.partition("=")[0] not in names]
    return "&".join(kept)


def with_headers(headers: Headers, *own: tuple[bytes, bytes]) -> Headers:
    """``headers`` with ``own`` in place of any of the same name."""
    names = {name.lower() for name, _value in own}
    return [each for each in headers if each[0].lower() not in names] + list(own)
