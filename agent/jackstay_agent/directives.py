"""What is left to a bot's judgement, told until the bot's code has it: directives with acknowledgement (DESIGN §5).

A socket that took a directive is no proof that a stopped bot read it. So each has an id, is kept over restarts of the
agent, told at the bot's next hello and again now and then, and is over when the bot acknowledges it; the client takes
repetitions out. One that nobody acknowledges is told of once and stays in `status`. A snapshot of the moment (`resume`)
replaces the earlier one. Bounded per bot and in time: what is given up is told of, never silently forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.messages import Directive

from .kept import plain

PREFIX = "directive/"
PER_BOT_MAX = 256
BOTS_MAX = 1_024
REPEAT_S, REPEAT_S_MAX = 5.0, 120.0  # doubled from the first to the second
WARN_AFTER_S = 30.0
KEEP_S = 24 * 3_600.0
ONLY_THE_LATEST = frozenset({"resume"})


@dataclass(slots=True)
class Waiting:
    """One that is not acknowledged. ``at``: UTC seconds; ``told``: to how many sockets it was given."""

    directive: Directive
    at: float
    told: int = 0
    due_at: float = 0.0
    pause_s: float = REPEAT_S
    warned: bool = False


class Directives:
    """``deliver(bot, message)``: False while the bot has no socket here."""

    def __init__(
        self,
        *,
        deliver: Callable[[str, Directive], bool],
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._deliver = deliver
        self._clock = clock
        self._wall = wall
        self._on_event = on_event
        self._bots: dict[str, dict[str, Waiting]] = {}
        self._count = 0
        self.changed = False

    def tell(self, bot_id: str, directive: Directive) -> bool:
        """From now on it is this bot's until acknowledged; True: a socket of the bot's took it already."""
        self._count += 1
        name = f"{PREFIX}{int(self._wall() * 1e6):x}-{self._count}"
        fields = plain(directive.fields)
        waiting = self._bots.setdefault(bot_id, {})
        for held in waiting.values():
            if held.directive.name == directive.name and held.directive.fields == fields:
                # the same word again, as by a step that was done and not journaled when the agent died: it is one
                return self._say(bot_id, held)
        if directive.name in ONLY_THE_LATEST:
            for each in [key for key, held in waiting.items() if held.directive.name == directive.name]:
                del waiting[each]
        self._make_room(bot_id, waiting)
        new = waiting[name] = Waiting(Directive(directive.name, fields, name), self._wall())
        self.changed = True
        told = self._say(bot_id, new)
        self._on_event("directive.sent", {"bot": bot_id, "directive": directive.name, "id": name, "on_its_way": told})
        return told

    def replay(self, bot_id: str) -> None:
        """The bot said hello: all that it has not acknowledged, oldest first."""
        for each in list(self._bots.get(bot_id, {}).values()):
            each.pause_s = REPEAT_S
            self._say(bot_id, each)

    def ack(self, bot_id: str, names: list[str]) -> int:
        """The bot's code has these; how many were waiting."""
        waiting, taken = self._bots.get(bot_id, {}), 0
        for name in names:
            found = waiting.pop(name, None)
            if found is not None:
                taken += 1
                after_s = round(max(0.0, self._wall() - found.at), 3)
                fields = {"bot": bot_id, "directive": found.directive.name, "id": name, "after_s": after_s}
                self._on_event("directive.acknowledged", fields | {"told": found.told})
        if taken:
            self.changed = True
            if not waiting:
                del self._bots[bot_id]
        return taken

    def tick(self) -> None:
        """Again what is due; a word about what stays unacknowledged; an end to what is a day old."""
        now, wall = self._clock(), self._wall()
        for bot_id, waiting in list(self._bots.items()):
            for name, each in list(waiting.items()):
                age_s = wall - each.at
                if age_s > KEEP_S:
                    self._give_up(bot_id, waiting, name, "a day old")
                    continue
                if now >= each.due_at:
                    self._say(bot_id, each)
                if age_s >= WARN_AFTER_S and not each.warned:
                    each.warned = True
                    fields = {"bot": bot_id, "directive": each.directive.name, "id": name, "told": each.told}
                    self._on_event("directive.unacknowledged", fields | {"for_s": round(age_s, 1)})
            if not waiting:
                del self._bots[bot_id]

    def status(self) -> dict[str, list[dict[str, Any]]]:
        """What is not acknowledged, by bot, oldest first."""
        wall = self._wall()
        return {
            bot_id: [
                {
                    "directive": each.directive.name,
                    "id": each.directive.id,
                    "for_s": round(max(0.0, wall - each.at), 1),
                    "told": each.told,
                }
                for each in waiting.values()
            ]
            for bot_id, waiting in self._bots.items()
            if waiting
        }

    # ---- restarts

    def snapshot(self) -> dict[str, Any]:
        return {
            "bots": {
                bot_id: [
                    [each.directive.name, each.directive.fields, each.directive.id, each.at] for each in rows.values()
                ]
                for bot_id, rows in self._bots.items()
            }
        }

    def restore(self, found: dict[str, Any]) -> None:
        """Raises ValidationError and takes up nothing of a damaged file."""
        try:
            bots = {
                str(bot_id): {
                    str(name): Waiting(Directive(str(word), dict(fields), str(name)), float(at))
                    for word, fields, name, at in rows
                }
                for bot_id, rows in found["bots"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValidationError(f"the directives' file is damaged ({type(error).__name__})") from error
        self._bots = bots

    # ---- inside

    def _say(self, bot_id: str, each: Waiting) -> bool:
        each.due_at = self._clock() + each.pause_s
        each.pause_s = min(2 * each.pause_s, REPEAT_S_MAX)
        told = self._deliver(bot_id, each.directive)
        each.told += told
        return told

    def _make_room(self, bot_id: str, waiting: dict[str, Waiting]) -> None:
        if len(waiting) >= PER_BOT_MAX:
            self._give_up(bot_id, waiting, next(iter(waiting)), f"{PER_BOT_MAX} newer ones wait")
        if len(self._bots) > BOTS_MAX:
            oldest = next(each for each in self._bots if each != bot_id)
            for name in list(self._bots[oldest]):
                self._give_up(oldest, self._bots[oldest], name, f"{BOTS_MAX} other bots have some")
            del self._bots[oldest]

    def _give_up(self, bot_id: str, waiting: dict[str, Waiting], name: str, why: str) -> None:
        gone = waiting.pop(name)
        self.changed = True
        self._on_event("directive.given_up", {"bot": bot_id, "directive": gone.directive.name, "id": name, "why": why})
