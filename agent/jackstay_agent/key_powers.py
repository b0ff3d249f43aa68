"""What the agent can do at each venue: its grade, as the venue says it of the agent's key (DESIGN §5 Protection).

*carry*: no key; queued entries can be held back, nothing cancelled. *resolve*: a key that may ask. *protect*: the
venue says that the key may trade, which includes cancels, or it took a cancel under it. The whole agent's grade is that
of the weakest venue that has a key or where a bot has orders: nobody shall rely on more. Asked through the pipeline
when the agent starts and once a day; a test key is never shown to a host other than its venue's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .flight import Flight
from .transport.http import HttpAnswer, HttpFailure
from .venue_access import VenueAccess
from .venues.answers import Broken
from .venues.key_info import read_permissions
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

CARRY, RESOLVE, PROTECT = "carry", "resolve", "protect"
ASK_WITHIN_S = 5.0
AGAIN_FIRST_S, AGAIN_MAX_S = 5.0, 3_600.0  # after a question without a useful answer; doubled up to the second
DAILY_S = 86_400.0
NO_KEY = "the agent has no key there: it can hold queued entries back and cancel nothing"
GIVE_KEY = "give it one that may cancel and may not withdraw (`jackstay keys add`, docs/OPERATIONS.md) and restart it"


@dataclass(slots=True)
class Power:
    """What is known of one key. ``may_cancel`` None: not known, ``why`` says for what reason."""

    may_cancel: bool | None = None
    why: str = "the venue was not asked yet"
    asked: bool = False
    due_at: float = 0.0
    pause_s: float = AGAIN_FIRST_S
    asking: bool = False


class KeyPowers:
    """``traded()``: venues where bots have orders; ``live(venue)``: its keys open a real account."""

    def __init__(
        self,
        access: VenueAccess,
        *,
        traded: Callable[[], set[str]],
        live: Callable[[str], bool],
        ask: Callable[[str, OutgoingRequest, float], Awaitable[HttpAnswer | HttpFailure | None]],
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._traded = traded
        self._live = live
        self._ask = ask
        self._clock = clock
        self._powers: dict[str, Power] = {}

    def tick(self) -> None:
        """Ask the venues that are due."""
        now = self._clock()
        for operations in self._access.askable():
            power = self._powers.setdefault(operations.profile.name, Power())
            if not power.asking and now >= power.due_at:
                self._begin(operations, power, now)

    def took_cancel(self, venue: str) -> None:
        """The venue took a cancel under the agent's key: no better proof."""
        power = self._powers.setdefault(venue, Power())
        power.may_cancel, power.why, power.asked = True, "the venue took a cancel", True

    @property
    def settled(self) -> bool:
        """Each key was asked about at least once."""
        return all(self._powers.get(each.profile.name, Power()).asked for each in self._access.askable())

    @property
    def grade(self) -> str:
        found = {row["grade"] for row in self.status().values()}
        return next((each for each in (CARRY, RESOLVE, PROTECT) if each in found), CARRY)

    def status(self) -> dict[str, dict[str, Any]]:
        """Grade and reason by venue."""
        keyed = {each.profile.name for each in self._access.askable()}
        rows: dict[str, dict[str, Any]] = {}
        for venue in sorted(keyed | self._traded()):
            if venue not in keyed:
                rows[venue] = {"grade": CARRY, "may_cancel": False, "why": NO_KEY}
                continue
            power = self._powers.get(venue, Power())
            grade = PROTECT if power.may_cancel else RESOLVE
            rows[venue] = {"grade": grade, "may_cancel": power.may_cancel, "why": power.why}
        return rows

    def problems(self) -> list[str]:
        """Why protection cannot cancel, or may not be able to, in words for an operator; none: it can, everywhere."""
        rows = self.status()
        if not rows:
            return [f"{NO_KEY.replace('there', 'for any venue')}; {GIVE_KEY}"]
        said = []
        for venue, row in rows.items():
            if row["grade"] == CARRY:
                said.append(f"{venue}: {NO_KEY}; {GIVE_KEY}")
            elif row["may_cancel"] is False:
                said.append(f"{venue}: {row['why']}: nothing can be cancelled there; {GIVE_KEY}")
            elif row["may_cancel"] is None:
                said.append(f"{venue}: whether its key may cancel is not known ({row['why']})")
        return said

    # ---- inside

    def _begin(self, operations: Operations, power: Power, now: float) -> None:
        data = operations.profile.data.key_info
        if data is None:
            self._unknown(power, "its profile has no way to ask, see the venue's own page")
            power.due_at = now + DAILY_S
            return
        if data.url and not self._live(operations.profile.name):
            self._unknown(power, f"a test key is not shown to {data.url}, which would be asked")
            power.due_at = now + DAILY_S
            return
        power.asking = True
        Flight(self._learn(operations, power), lambda error: self._failed(power, error)).step()

    async def _learn(self, operations: Operations, power: Power) -> None:
        data = operations.profile.data.key_info
        assert data is not None, "asked for above"
        headers = [(name.encode(), value.encode()) for name, value in operations.profile.data.signing.headers.items()]
        question = operations.sign(OutgoingRequest(data.method, data.path, headers))
        origin = data.url or operations.profile.base_url
        answer = await self._ask(origin, question, self._clock() + ASK_WITHIN_S)
        now = self._clock()
        power.asking, power.asked, power.due_at = False, True, now + power.pause_s
        power.pause_s = min(2 * power.pause_s, AGAIN_MAX_S)
        if not isinstance(answer, HttpAnswer):
            why = "it may not be asked now" if answer is None else f"{answer.cause}: {answer.detail}"
            self._unknown(power, f"the venue gave no answer: {why}"[:200])
            return
        try:
            told = read_permissions(data, answer.status, answer.body)
        except Broken as error:
            self._unknown(power, str(error)[:200])
            return
        if told.trade is None:
            self._unknown(power, "the venue's answer does not show it")
            return
        power.may_cancel, power.due_at, power.pause_s = told.trade, now + DAILY_S, AGAIN_FIRST_S
        power.why = (
            "the venue says that its key may trade" if told.trade else "the venue says that its key may only read"
        )

    def _unknown(self, power: Power, why: str) -> None:
        """What was known stays known: a silent venue takes no permission back."""
        power.asked = True
        if power.may_cancel is None:
            power.why = why

    def _failed(self, power: Power, error: BaseException) -> None:
        power.asking, power.due_at = False, self._clock() + power.pause_s
        self._unknown(power, f"{type(error).__name__}: {error}"[:200])
