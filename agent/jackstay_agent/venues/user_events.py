"""A user stream's message to normalised orders, fills, balances and positions, by the profile's rules.

`[[user_events]]` of a profile says which messages tell of what: ``when`` are JMESPaths and the text that has to stand
there (a ``*`` at the end: begins so), ``items`` leads to one item or a list, ``reader`` reads each. One message may
match several rules: an execution report tells of an order and of a fill. A message that no rule knows tells nothing;
one that a rule knows and cannot read is `Unreadable`, and never half of something.

Refuses to know how the stream is kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .answers import Balance, Broken, Fill, OrderState, Position, Reader, Unreadable, as_text, compiled, decode
from .operation_data import UserEventData
from .profile import Profile

Told = OrderState | Fill | Balance | Position
ITEMS_MAX = 1_000


class UserEvent(NamedTuple):
    """``whole``: balances or positions that name all there is (a snapshot)."""

    gives: str
    items: list[Told]
    whole: bool


class _Rule(NamedTuple):
    data: UserEventData
    when: list[tuple[Any, str]]
    items: Any


class UserEvents:
    """One profile's rules. Raises ValidationError (Broken) where a JMESPath is none."""

    def __init__(self, profile: Profile) -> None:
        self._rules = [
            _Rule(each, [(compiled(path), text) for path, text in each.when.items()], compiled(each.items))
            for each in profile.data.user_events
        ]
        self._readers = {
            name: Reader(profile.data.readers[name], profile.symbol)
            for name in {each.reader for each in profile.data.user_events}
        }

    def __bool__(self) -> bool:
        """Whether the profile knows its user stream's messages at all."""
        return bool(self._rules)

    def read(self, raw: bytes) -> list[UserEvent] | Unreadable:
        """What a message tells, in the order of the rules; an empty list for other messages."""
        try:
            document = decode(raw)
        except Broken:
            return Unreadable("no JSON document")
        found: list[UserEvent] = []
        try:
            for rule in self._rules:
                if not all(_stands(path.search(document), text) for path, text in rule.when):
                    continue
                items = rule.items.search(document)
                listed = items if isinstance(items, list) else [] if items is None else [items]
                if len(listed) > ITEMS_MAX:
                    return Unreadable(f"{len(listed)} items; at most {ITEMS_MAX} are expected")
                told = [self._item(rule.data, each, document) for each in listed]
                if told:
                    found.append(UserEvent(rule.data.gives, told, rule.data.whole))
        except Broken as error:
            return Unreadable(str(error))
        return found

    def _item(self, rule: UserEventData, item: Any, document: Any) -> Told:
        reader = self._readers[rule.reader]
        if rule.gives == "order":
            return reader.order(item, document, rule.family)
        if rule.gives == "fill":
            return reader.fill(item)
        if rule.gives == "balance":
            return reader.balance(item)
        return reader.position(item)


def _stands(value: Any, text: str) -> bool:
    if value is None or isinstance(value, list | dict):
        return False
    there = as_text("a message's kind", value)
    return there.startswith(text[:-1]) if text.endswith("*") else there == text
