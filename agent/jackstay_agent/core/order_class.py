"""What is an order for? Entry, exit, protective, hedge or unknown (DESIGN §5 Protection, Order classes).

Evidence in order: the bot's tag, the client id's prefix, then what the venue itself enforces or shows: reduce-only,
close-position, the side of a hedged position, trigger type, order list. On spot a purchase is an entry and a sale an
exit, unless configured. What is left is unknown: the agent never cancels it, and modes treat it as an entry.

`reduces` is narrower: only what the *venue* enforces, because the de-risking lane stands on it and a bot's tag may be
wrong (DESIGN §3 rule 4). Refuses to know parameter names: a profile's ``[families.NAME.marks]`` says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass

#: What a request may say about an order, in the profiles' words.
MARKS: Final = frozenset(
    {
        "spot",  # money for goods: nothing can be sold that is not there
        "margin",  # on a spot market with borrowed money: a sale may open a short position
        "close_position",  # closes what is open, whatever that is
        "trigger",  # rests until a price is touched
        "list",  # one of several orders of which the first filled cancels the others
        "long",  # for the long side of a hedged position
        "short",
        "post_only",
    }
)


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """One order as its request or the venue shows it. ``side``: buy or sell; ``reduce_only`` None: not said."""

    side: str
    tag: str = ""
    client_id: str = ""
    reduce_only: bool | None = None
    marks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What an operator says of a venue's orders. ``prefixes``: how a client id begins -> class, the longest counts;
    ``buy`` and ``sell``: of spot orders without other evidence; ``otherwise``: of orders elsewhere without any.
    """

    prefixes: Mapping[str, OrderClass] = field(default_factory=dict)
    buy: OrderClass = OrderClass.ENTRY
    sell: OrderClass = OrderClass.EXIT
    otherwise: OrderClass = OrderClass.UNKNOWN

    def __post_init__(self) -> None:
        if "" in self.prefixes:
            raise ValidationError("ClassRules.prefixes has an empty prefix, which every id begins with; remove it")
        named = {**{f"prefixes[{p!r}]": c for p, c in self.prefixes.items()}, "buy": self.buy, "sell": self.sell}
        for name, value in {**named, "otherwise": self.otherwise}.items():
            if value not in _WORDS:
                raise ValidationError(f"ClassRules.{name} is {value!r}; one of {', '.join(sorted(_WORDS))} is expected")


def classify_order(facts: OrderFacts, rules: ClassRules) -> OrderClass:
    """The class of one order. A tag counts up to its first colon ("protective:stop 1"); another word says nothing."""
    if facts.tag:
        told = _WORDS.get(facts.tag.partition(":")[0].strip().lower())
        if told is not None:
            return told
    if rules.prefixes and facts.client_id:
        fitting = [prefix for prefix in rules.prefixes if facts.client_id.startswith(prefix)]
        if fitting:
            return OrderClass(rules.prefixes[max(fitting, key=len)])
    return _by_evidence(facts, rules)


def _by_evidence(facts: OrderFacts, rules: ClassRules) -> OrderClass:
    marks, buys = facts.marks, facts.side == "buy"
    opens = _opens(facts)
    spot = "spot" in marks and "margin" not in marks
    closes = not opens and (
        (facts.reduce_only is True and not spot)
        or "close_position" in marks
        or ("long" in marks and not buys)
        or ("short" in marks and buys)
    )
    if "trigger" in marks or "list" in marks:  # the stop or the target of what is held, or a way in at a price
        if closes or (spot and not buys):
            return OrderClass.PROTECTIVE
        return OrderClass.ENTRY if opens else OrderClass(rules.buy if spot else OrderClass.UNKNOWN)
    if closes:
        return OrderClass.EXIT
    if opens:
        return OrderClass.ENTRY
    if spot:
        return OrderClass(rules.buy if buys else rules.sell)
    return OrderClass(rules.otherwise)


def reduces(facts: OrderFacts) -> bool:
    """The venue itself keeps this order from increasing an absolute position. Spot markets ignore reduce-only, and so
    do hedged positions whose opening side is named.
    """
    if "spot" in facts.marks or _opens(facts):
        return False
    return facts.reduce_only is True or "close_position" in facts.marks


def _opens(facts: OrderFacts) -> bool:
    return ("short" if facts.side == "sell" else "long") in facts.marks


_WORDS: Final[dict[str, OrderClass]] = {each.value: each for each in OrderClass}
