"""`[account]` and `[state]`: whose account it is, and how closely the pictures of it are compared.

Every number has its unit in its name and its reason beside it. Checked where it is born; the config room fills it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import isfinite

from jackstay_protocols.errors import ValidationError

from .core.discrepancy import check_policies

COMPONENTS = ("orders", "positions", "balances", "connections", "queue")
DELIVER = ("missed", "all", "none")


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """``exclusive``: nobody else trades on this account, neither a person nor another bot. ``id``: a name of your own
    for the account; with it, a second agent of this host that claims it exclusively does not start.

    ``client_id_prefixes``: client order ids that begin so are this agent's bots' own.
    """

    exclusive: bool = False
    id: str = ""
    client_id_prefixes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for prefix in self.client_id_prefixes:
            if len(prefix) < 2:
                raise ValidationError(
                    f"account.client_id_prefixes has {prefix!r}; 2 or more characters are expected: a shorter one"
                    " would claim other people's orders"
                )


@dataclass(frozen=True, slots=True)
class StateSettings:
    """``components`` are looked at; `policies` say per kind alert, adopt, halt or cancel_orphan."""

    enabled: bool = True  # it asks only where the agent has a key of its own
    components: list[str] = field(default_factory=lambda: list(COMPONENTS))
    # how often the venue is asked; the second is for while a user stream is up
    check_every_s: float = 30.0
    check_every_streamed_s: float = 120.0
    fills_every_s: float = 15.0
    fills_every_streamed_s: float = 60.0
    gap_s: float = 1.0  # the least pause between two looks at one part, whatever triggers them
    # how long pictures may differ: a stream's latency and a venue's two back ends
    settle_s: float = 2.0
    questions_max: int = 50  # single orders asked about in one check; the rest is unverifiable until the next
    ask_within_s: float = 10.0
    bot_view_max_age_s: float = 900.0  # 0: a bot's report never grows old
    balance_tolerance: str = "0"  # a share of the larger amount
    policies: dict[str, str] = field(default_factory=dict)
    deliver_fills: str = "missed"  # missed (by the bot's own traffic) | all | none
    # bounds
    orders_live_max: int = 20_000
    orders_over_max: int = 1_000  # latest ended ones in memory; the file has the rest
    rows_max: int = 200_000  # of orders, fills and results in the file, each
    retention_s: float = 7 * 86_400.0
    fills_overlap_s: float = 30.0  # asked again, because a venue may list a trade late
    fills_back_s: float = 3_600.0  # how far back a first start looks for fills of orders it knows

    def __post_init__(self) -> None:
        unknown = sorted(set(self.components) - set(COMPONENTS))
        if unknown:
            raise ValidationError(f"state.components has {', '.join(unknown)}; known: {', '.join(COMPONENTS)}")
        if self.deliver_fills not in DELIVER:
            raise ValidationError(f"state.deliver_fills is {self.deliver_fills!r}; {', '.join(DELIVER)} are known")
        problems = check_policies(self.policies, exclusive=True)  # with the account's word: Config.check
        if problems:
            raise ValidationError(f"state.{problems[0]}")
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            low = (
                0.0 if name in ("gap_s", "settle_s", "bot_view_max_age_s", "fills_overlap_s", "fills_back_s") else 1e-3
            )
            if not isfinite(value) or value < low:
                raise ValidationError(f"state.{name} is {value!r}; a finite number from {low:g} up is expected")
        if not 0 <= self.tolerance < 1:
            raise ValidationError(
                f"state.balance_tolerance is {self.balance_tolerance!r}; a share from 0 to 1 expected"
            )

    @property
    def tolerance(self) -> Decimal:
        try:
            found = Decimal(self.balance_tolerance)
        except InvalidOperation:
            found = Decimal("NaN")
        if not found.is_finite():
            raise ValidationError(f"state.balance_tolerance is {self.balance_tolerance!r}; a share as text is expected")
        return found


def problems_of(account: AccountSettings, policies: Mapping[str, str]) -> list[str]:
    """What is wrong between the two sections."""
    return [f"[state] {each}" for each in check_policies(policies, exclusive=account.exclusive)]
