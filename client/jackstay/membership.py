"""This process as one bot: the session all its sockets share (DESIGN §4).

The session is (bot id, pid): every thread's socket, the asyncio client and the feeds say HELLO for the same one. Here
lies what they must agree on: the lease and when it was last renewed, the WELCOME, the resume token, the late outcomes,
and how the bot leaves. A forked child is another process and gets its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from jackstay_protocols.clock import boot_id, boot_s, boot_us
from jackstay_protocols.endpoints import AgentPaths, agent_names, find_agent, runtime_roots
from jackstay_protocols.errors import AgentGone, Outcome, Reason, ValidationError
from jackstay_protocols.limits import (
    BEAT_WITHIN_S_DEFAULT,
    BEAT_WITHIN_S_MAX,
    TO_AGENT_FRAME_BYTES_MAX,
    WIRE_VERSION,
    WIRE_VERSION_MIN,
)
from jackstay_protocols.messages import Goodbye, Hello, Welcome
from jackstay_protocols.session import SESSION_KINDS, BeatPlan, check_hello, clamp_beat_s

from .directives import DirectiveBox
from .fallback import DirectCalls
from .outcomes import OutcomeBox

CONNECT_TIMEOUT_S_DEFAULT = 1.0
RETURN_WITHIN_S = 15.0  # an agent that said it is leaving is waited for this long, within each call's own deadline


class Membership:
    """What all sockets of this process share towards one agent."""

    def __init__(
        self,
        where: Whereabouts,
        bot_id: str,
        kind: str,
        *,
        connect_timeout_s: float,
        beat_within_s: float,
    ) -> None:
        self.pid = os.getpid()
        self.where = where
        self.bot_id = bot_id
        self.kind = kind
        self.connect_timeout_s = connect_timeout_s
        self.beat_within_s = beat_within_s
        self.welcome: Welcome | None = None
        self.plan = BeatPlan(clamp_beat_s(beat_within_s, BEAT_WITHIN_S_DEFAULT), boot_s())
        # deciseconds to announce with the next frame; 0: as announced before
        self.beat_ds_next = 0
        self._standing_ds = 0
        self.frame_bytes_max = TO_AGENT_FRAME_BYTES_MAX
        self.outcomes = OutcomeBox()
        self.direct = DirectCalls()
        self._telling_direct: list[str] = []
        self.directives = DirectiveBox(self.outcomes.acks)
        self.progress = 0
        self._return_until_us = 0
        self.users = 0
        self.last_word: Goodbye | None = None
        self.left = False

    def hello(self, kind: str | None = None) -> Hello:
        """The first message of a new socket, or of an old one that the agent no longer knows."""
        self._telling_direct = self.direct.told()
        return Hello(
            bot_id=self.bot_id,
            kind=kind or self.kind,
            pid=self.pid,
            client_version=client_version(),
            wire_min=WIRE_VERSION_MIN,
            wire_max=WIRE_VERSION,
            boot_id=boot_id(),
            resume=self.welcome.resume if self.welcome is not None else "",
            beat_within_s=self.beat_within_s,
            direct=self._telling_direct,
        )

    def welcomed(self, welcome: Welcome) -> None:
        known = self.welcome is not None and self.welcome.resume == welcome.resume
        self.welcome = welcome
        self.direct.heard(self._telling_direct)
        self._telling_direct = []
        self.frame_bytes_max = min(welcome.frame_bytes_max or TO_AGENT_FRAME_BYTES_MAX, TO_AGENT_FRAME_BYTES_MAX)
        if not known:
            # one more socket of a known session is told its present lease, which may be a busy spell's
            self.plan = BeatPlan(clamp_beat_s(welcome.beat_within_s, BEAT_WITHIN_S_DEFAULT), boot_s())
        self.left = False
        self._return_until_us = 0
        if self._standing_ds:
            self.back_to_normal()  # a new agent has not heard of it

    def agent_leaves(self) -> None:
        """It said so: a restart, most likely, and the next agent of that name is worth waiting for."""
        self._return_until_us = boot_us() + int(RETURN_WITHIN_S * 1e6)

    def next_one_listens(self) -> None:
        """The connection broke and is up again: the next agent is there, and its first answer may take a while."""
        self.agent_leaves()

    def returning(self) -> bool:
        return boot_us() < self._return_until_us

    def greet_until_us(self, deadline_us: int) -> int:
        """How long a greeting may take for a call with this deadline."""
        usual_us = boot_us() + int(self.connect_timeout_s * 1e6)
        return min(deadline_us, max(usual_us, self._return_until_us))

    def announce(self, within_s: float) -> None:
        """The next frame announces this lease, capped as the agent said."""
        self.beat_ds_next = self._ds(within_s)

    def back_to_normal(self) -> None:
        """The frame after it announces the standing lease again."""
        self.beat_ds_next = self._standing_ds or self.plan.announce_ds()

    def stretch(self, within_s: float) -> int:
        """A longer standing lease from the next frame on; returns what `relax` needs to undo it."""
        before, self._standing_ds = self._standing_ds, self._ds(within_s)
        self.back_to_normal()
        return before

    def relax(self, before: int) -> None:
        self._standing_ds = before
        self.back_to_normal()

    def take_beat_ds(self) -> int:
        """What the next frame announces; once."""
        beat_ds, self.beat_ds_next = self.beat_ds_next, 0
        return beat_ds

    def _ds(self, within_s: float) -> int:
        cap_s = self.welcome.beat_within_s_max if self.welcome is not None else BEAT_WITHIN_S_MAX
        return BeatPlan(clamp_beat_s(min(within_s, clamp_beat_s(cap_s))), 0.0).announce_ds()


class Whereabouts:
    """Where the agent is. Without a name it may turn up later: then every call looks again."""

    def __init__(self, agent: str | None, runtime_dir: str | os.PathLike[str] | None, env: Mapping[str, str]) -> None:
        self._agent = agent
        self._runtime_dir = runtime_dir
        self._env = dict(env)
        self._paths: AgentPaths | None = None
        try:
            self.paths()
        except AgentGone:
            pass

    def paths(self) -> AgentPaths:
        """Raises AgentGone when no agent is there and none is named, ValidationError when the choice is not clear."""
        if self._paths is not None:
            return self._paths
        try:
            found = find_agent(self._agent, runtime_dir=self._runtime_dir, env=self._env)
        except ValidationError as error:
            if self._agent or self._env.get("JACKSTAY_AGENT") or self._any_there():
                raise
            raise AgentGone(str(error), reason=Reason.REFUSED, outcome=Outcome.FAILED) from error
        found.check()
        if self._named_elsewhere_possible(found):
            return found
        self._paths = found
        return found

    def key(self) -> str:
        """Two clients that mean the same agent share one membership."""
        if self._paths is not None:
            return str(self._paths.runtime)
        return f"{self._agent or self._env.get('JACKSTAY_AGENT')} {self._runtime_dir}"

    def _any_there(self) -> bool:
        return any(agent_names(root) for root in runtime_roots(self._env, self._runtime_dir))

    def _named_elsewhere_possible(self, found: AgentPaths) -> bool:
        """A named agent that is not up may come up in another root: keep looking until its socket is there."""
        return not _exists(found.bot)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def client_version() -> str:
    from . import __version__

    return __version__


def default_bot_id(env: Mapping[str, str]) -> str:
    """$JACKSTAY_BOT, else the script's name, else "bot"."""
    given = env.get("JACKSTAY_BOT")
    if given:
        return given
    name = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else ""
    kept = "".join(letter for letter in name if letter.isalnum() or letter in "-_.")[:64]
    return kept if kept and kept.isascii() else "bot"


_memberships: dict[tuple[object, ...], Membership] = {}


def join(where: Whereabouts, bot_id: str, kind: str, *, connect_timeout_s: float, beat_within_s: float) -> Membership:
    """This process's membership towards that agent, made on first use and counted (see `leave`)."""
    problem = check_hello(Hello(bot_id, kind, os.getpid(), "", WIRE_VERSION_MIN, WIRE_VERSION))
    if problem or kind not in SESSION_KINDS[:2]:
        raise ValidationError(
            problem or f"session kind {kind!r}; 'primary' or 'reader' is expected", reason=Reason.BAD_REQUEST
        )
    key = (os.getpid(), where.key(), bot_id, kind)
    membership = _memberships.get(key)
    if membership is None:
        fresh = Membership(where, bot_id, kind, connect_timeout_s=connect_timeout_s, beat_within_s=beat_within_s)
        membership = _memberships.setdefault(key, fresh)  # atomic: two threads get the same one
        if membership is fresh:
            from . import farewell

            farewell.prepare()
    membership.users += 1
    return membership


def leave(membership: Membership, word: Goodbye) -> bool:
    """One user less. True when it was the last: the caller then says `membership.last_word` to the agent.

    Closing one of several clients is no goodbye of the bot; the strongest word of all of them is kept for the last.
    """
    membership.users -= 1
    said = membership.last_word
    if said is None or word.orders == "cancel" or said.orders != "cancel":
        membership.last_word = word
    if membership.users > 0:
        return False
    for key, each in list(_memberships.items()):
        if each is membership:
            _memberships.pop(key, None)
    return True


def all_here() -> list[Membership]:
    """The memberships of this very process (not of the parent it was forked from)."""
    pid = os.getpid()
    return [each for each in list(_memberships.values()) if each.pid == pid]
