"""Orders, fills and results to bytes and back, each row under a checksum over all of it that matters."""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import msgspec

from ..core.account import Fill, Order

_encode = msgspec.msgpack.Encoder(decimal_format="string").encode
_order = msgspec.msgpack.Decoder(Order).decode
_fill = msgspec.msgpack.Decoder(Fill).decode
_result = msgspec.msgpack.Decoder(dict[str, Any]).decode

DAMAGED: Final = "the row's checksum is wrong"


class DamagedRow(ValueError):
    """A row whose bytes are not what was written."""


def is_whole(raw: bytes, total: int) -> bool:
    """The bytes are those that were written."""
    return crc32(raw) == total


def write_order(order: Order) -> tuple[bytes, int]:
    raw = _encode(order)
    return raw, crc32(raw)


def read_order(raw: bytes, total: int) -> Order:
    """Raises DamagedRow."""
    return _read(_order, raw, total)  # type: ignore[no-any-return]


def write_fill(fill: Fill) -> tuple[bytes, int]:
    raw = _encode(fill)
    return raw, crc32(raw)


def read_fill(raw: bytes, total: int) -> Fill:
    """Raises DamagedRow."""
    return _read(_fill, raw, total)  # type: ignore[no-any-return]


def write_result(result: dict[str, Any]) -> tuple[bytes, int]:
    raw = _encode(result)
    return raw, crc32(raw)


def read_result(raw: bytes, total: int) -> dict[str, Any]:
    """Raises DamagedRow."""
    return _read(_result, raw, total)  # type: ignore[no-any-return]


def _read(decode: Any, raw: bytes, total: int) -> Any:
    if crc32(raw) != total:
        raise DamagedRow(DAMAGED)
    try:
        return decode(raw)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise DamagedRow(f"the row cannot be read: {error}") from None
