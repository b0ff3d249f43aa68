"""What an API key may do, asked from the venue: the one question before a key is trusted to an agent (DESIGN §5).

``[key_info]`` of a profile names the question and where the answer shows withdrawal and trading. A key that can
withdraw is refused: nothing the agent does needs it, and whoever gets at the key gets at the money.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from .answers import Broken, compiled, decode


class KeyInfoData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ``[key_info]`` table. ``url``: where it is not the profile's base_url."""

    method: str = "GET"
    path: str
    url: str = ""
    withdraw: str  # JMESPath that is true when the key can withdraw
    trade: str  # JMESPath that is true when it can place orders


@dataclass(frozen=True, slots=True)
class Permissions:
    """``None``: the answer does not show it."""

    withdraw: bool | None
    trade: bool | None


def problems_of(data: KeyInfoData) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    if not data.path.startswith("/"):
        found.append((("key_info", "path"), f"{data.path!r}; a path that begins with '/' is expected"))
    for name in ("withdraw", "trade"):
        try:
            compiled(getattr(data, name))
        except Broken as error:
            found.append((("key_info", name), str(error)))
    return found


def read_permissions(data: KeyInfoData, status: int, body: bytes) -> Permissions:
    """What the venue's answer says. Raises Broken when it is no answer to the question."""
    if status != 200:
        raise Broken(f"the venue answered {status}: {body[:200].decode('utf-8', 'replace')}")
    document = decode(body)
    return Permissions(_truth(data.withdraw, document), _truth(data.trade, document))


def _truth(path: str, document: Any) -> bool | None:
    found = compiled(path).search(document)
    return found if isinstance(found, bool) else None
