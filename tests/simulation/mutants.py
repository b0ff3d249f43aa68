"""Planted bugs: what the simulation has to find, or it proves nothing.

Each is a small change of a running agent, as a careless hand might make it in the code. The weather is not chosen for
it: seeds are tried in order until one of them is not green.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackstay_agent.core.breaker import BreakerState
from jackstay_agent.core.evidence import Evidence, Finding, Patience, Source
from jackstay_agent.core.intent import Event, State
from jackstay_agent.transport.http import HttpFailure
from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.messages import Refusal

Mutant = Callable[[Any, Any], None]  # (agent, simulation); called for every life of the agent before it starts


def resend_on_timeout(agent: Any, _sim: Any) -> None:
    """An order without an answer is sent once more."""
    sane = agent.pipeline._send

    async def send(call: Any, way: Any, deadline_at: float, signer: Any = None) -> Any:
        result = await sane(call, way, deadline_at, signer)
        if isinstance(result, HttpFailure) and result.sent and call.deadline_at > agent._ports.clock():
            result = await sane(call, way, call.deadline_at, signer)
        return result

    agent.pipeline._send = send


def repeat_on_dead_connection(agent: Any, _sim: Any) -> None:
    """Whatever met a connection that died under it is written again on another one."""
    sane = agent.upstreams._make_pool

    def make_pool(*args: Any) -> Any:
        pool = sane(*args)
        submit = pool.submit

        def always(*args: Any, **options: Any) -> Any:
            return submit(*args, **{**options, "idempotent": True})

        pool.submit = always
        return pool

    agent.upstreams._make_pool = make_pool


def equal_order_while_unknown(agent: Any, _sim: Any) -> None:
    """Rule 1 is not asked."""

    def attached(outbox: Any) -> None:
        outbox._admission.rule_one = lambda intent: None

    _when_attached(agent, attached)
    agent.intents.stand = lambda intents: None


def late_truth_forgotten(agent: Any, _sim: Any) -> None:
    """Who asks again for an order that was found meanwhile gets a second one."""
    agent.intents.late_truth = lambda intents: None


def impatient(agent: Any, _sim: Any) -> None:
    """The first "not found" is believed, whenever it was asked."""

    def attached(outbox: Any) -> None:
        resolve = outbox.resolve
        outbox.resolve = lambda seq, evidence, patience=None, **more: resolve(
            seq, evidence, Patience(0.0, 1, 0.0), **more
        )

    _when_attached(agent, attached)


def silence_is_absence(agent: Any, _sim: Any) -> None:
    """A question without an answer counts as "not found" (hummingbot#8457)."""
    sane = agent.resolver._asked

    async def asked(unknown: Any, operations: Any, name: str) -> Any:
        evidence, answer = await sane(unknown, operations, name)
        if evidence.finding is Finding.NO_ANSWER:
            evidence = Evidence(Source.QUERY, Finding.NOT_FOUND, evidence.asked_at, evidence.family)
        return evidence, answer

    agent.resolver._asked = asked


def sent_before_journal(agent: Any, _sim: Any) -> None:
    """The row is written with the next batch, after the first byte."""

    def attached(outbox: Any) -> None:
        journal = outbox._journal
        journal.insert = lambda rows, **_more: journal._in_memory(rows)

    _when_attached(agent, attached)


def unsynced_commit(_agent: Any, sim: Any) -> None:
    """A commit that was to survive the loss of power is not synced."""
    sim.host.disk.syncs = False


def restart_forgets_doubt(agent: Any, _sim: Any) -> None:
    """What was under way when the agent died is taken for never sent."""

    def attached(outbox: Any) -> None:
        for entry in list(outbox._shelf.open_entries()):
            if entry.state is State.UNKNOWN:
                outbox.finish(entry.seq, Outcome.FAILED, cause="restart")

    _when_attached(agent, attached)


def news_lost(agent: Any, _sim: Any) -> None:
    """Late outcomes are not told; a hello brings them, if there is one."""
    agent.intents.news._deliver = lambda bot_id, news: True


def replay_forgotten(agent: Any, _sim: Any) -> None:
    """A hello brings nothing."""
    agent.bots._replay = lambda bot_id: 0


def ack_ignored(agent: Any, _sim: Any) -> None:
    """Outcomes never leave the shelf."""
    agent.bots._ack = lambda bot_id, names: 0


def abandoned_call_forgotten(agent: Any, _sim: Any) -> None:
    """The outcome of a call whose caller left is told to nobody."""
    sane = agent.intents.told
    agent.intents.told = lambda begun, heard=True: sane(begun)
    agent.bots._unheard = lambda bot_id, name: None


def stale_sent(agent: Any, _sim: Any) -> None:
    """A call's deadline is a suggestion."""
    take = agent.bots._take

    def late(call: Any) -> None:
        call.deadline_at += 5.0
        take(call)

    agent.bots._take = late


def cancel_waits_for_breaker(agent: Any, _sim: Any) -> None:
    """De-risking is refused while a breaker is open."""
    admission = agent.pipeline._admission
    sane = admission.admit

    async def admit(call: Any, way: Any, judgement: Any, *rest: Any, **more: Any) -> Any:
        closed = all(each.state is BreakerState.CLOSED for each in judgement.breakers.values())
        if way.route.lane is Lane.DERISK and not closed:
            return Refusal(Reason.BREAKER_OPEN, "the breaker is open")
        return await sane(call, way, judgement, *rest, **more)

    admission.admit = admit


def wake_lost(agent: Any, _sim: Any) -> None:
    """A connection that was dialled for somebody is put aside and nobody is told."""
    sane = agent.upstreams._make_pool

    def make_pool(*args: Any) -> Any:
        pool = sane(*args)
        connected = pool._connected

        def aside(*args: Any) -> Any:
            give, pool._give = pool._give, pool._ready.append
            try:
                return connected(*args)
            finally:
                pool._give = give

        pool._connected = aside
        return pool

    agent.upstreams._make_pool = make_pool


def strange_answer_believed(agent: Any, _sim: Any) -> None:
    """Another request's answer is taken for this one's."""
    agent.resolver.doubted = lambda intent, verdict, result, operations: verdict


def wall_clock_believed(agent: Any, _sim: Any) -> None:
    """Orders are compared with our wall clock, right or wrong."""
    agent.intents._venue_at = lambda venue, boot_s: None


def expired_in_flight(agent: Any, _sim: Any) -> None:
    """What is unknown for ten seconds is called absent."""
    tick = agent.resolver.tick

    def old() -> None:
        outbox = agent.intents.outbox
        for unknown in outbox.unknowns():
            if unknown.since_s > 10.0:
                entry = outbox._shelf.get(unknown.seq)
                outbox._on_settled(outbox._apply(entry, Event.SAID_ABSENT, _ending(), "old"))
        tick()

    agent.resolver.tick = old


def woken_before_truth(agent: Any, _sim: Any) -> None:
    """An order that waits for its equal is let go before it is noted that the equal exists."""
    intents = agent.intents
    sane = intents.settled

    def settled(news: Any) -> None:
        if news.final:
            intents._wake(news)
        sane(news)

    intents.settled = settled


def _ending() -> Any:
    from jackstay_agent.outbox.records import Ending

    return Ending("", source="agent")


def _when_attached(agent: Any, change: Callable[[Any], None]) -> None:
    sane = agent.intents.attach

    def attach(outbox: Any) -> None:
        change(outbox)
        sane(outbox)

    agent.intents.attach = attach


#: name -> (the change, seeds within which it has to be found)
MUTANTS: dict[str, tuple[Mutant, int]] = {
    "resend on timeout": (resend_on_timeout, 50),
    "repeat on a dead connection": (repeat_on_dead_connection, 100),
    "equal order sent while unknown": (equal_order_while_unknown, 50),
    "late truth forgotten": (late_truth_forgotten, 50),
    "first not-found believed": (impatient, 100),
    "silence taken for absence": (silence_is_absence, 50),
    "sent before journal": (sent_before_journal, 50),
    "unsynced power-safe commit": (unsynced_commit, 100),
    "restart forgets doubt": (restart_forgets_doubt, 100),
    "late news lost": (news_lost, 50),
    "replay forgotten": (replay_forgotten, 100),
    "acknowledgement ignored": (ack_ignored, 50),
    "abandoned call forgotten": (abandoned_call_forgotten, 400),
    "deadline ignored": (stale_sent, 100),
    "cancel waits for the breaker": (cancel_waits_for_breaker, 100),
    "lost wake-up": (wake_lost, 50),
    "strange answer believed": (strange_answer_believed, 100),
    "wall clock believed": (wall_clock_believed, 100),
    "unknown ages into absent": (expired_in_flight, 50),
    "woken before the truth is known": (woken_before_truth, 400),
}
