"""The last judgement of a run: what the bots believe and what the journal says, against the venue's own record."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from jackstay_agent.core.intent import State
from jackstay_protocols.errors import Outcome

from .observer import Attempt, Intention
from .venue import HUMAN

if TYPE_CHECKING:
    from .run import Simulation

KNOWN = {State.DONE: True, State.REJECTED: False, State.FAILED: False, State.ABSENT: False}


def judge(sim: Simulation) -> None:
    observer, house = sim.observer, sim.house
    say = lambda what: observer.violation(sim.world, what)  # noqa: E731
    for process_trouble in _troubles(sim):
        say(process_trouble)
    executed = Counter(each.quantity for each in house.executed if not each.copy)
    by_id = {each.client_id: each for each in house.executed}
    for intention in observer.intentions.values():
        times = executed[intention.quantity]
        if times > 1:
            say(f"rule 1: {intention.bot_id} wanted {intention.quantity} once, the venue executed it {times} times")
        _answers(say, intention, times, by_id)
    _journal(sim, say, by_id)
    ours = {client_id for client_id, _ in house.cancels}
    if strangers := [client_id for client_id in ours if client_id and client_id.startswith(HUMAN)]:
        say(f"rule 6: orders of a person were cancelled: {strangers}")
    agent = sim.host.agent
    if agent is not None and agent.pipeline.counters["broken"]:
        say("the pipeline broke: a fault of the agent")
    for bot in sim.bots:
        if bot.client is not None and bot.client.answered_twice:
            say(f"{bot.name} got an answer nobody waited for")


def _troubles(sim: Simulation) -> list[str]:
    found = [f"{sim.outside.name}: {each}" for each in sim.outside.trouble]
    for process in (sim.host.agent_process, *(bot.process for bot in sim.bots)):
        if process is not None:
            found += [f"{process.name}: {each}" for each in process.trouble]
    return found


def _answers(say: Any, intention: Intention, times: int, by_id: dict[str, Any]) -> None:
    """What a bot was told for good is true."""
    for attempt in intention.attempts:
        told = attempt.told
        if told is None:
            continue
        if told.outcome is Outcome.OK and told.kind == "response" and not times:
            say(f"rule 8: {intention.bot_id} was told that {attempt.client_id} exists; it does not")
        final = told.outcome in (Outcome.FAILED, Outcome.REJECTED)
        if final and attempt.client_id and attempt.client_id in by_id and not _same_id_elsewhere(intention, attempt):
            say(f"rule 8: {intention.bot_id} was told {told.outcome} ({told.reason}) of {attempt.client_id}; it exists")


def _same_id_elsewhere(intention: Intention, attempt: Attempt) -> bool:
    """Another try under the same id (an idempotency key's) may be the one that was executed."""
    return any(each is not attempt and each.client_id == attempt.client_id for each in intention.attempts)


def _journal(sim: Simulation, say: Any, by_id: dict[str, Any]) -> None:
    """Everything written to the wire is in the journal with the venue's truth, and its bot knows it."""
    agent = sim.host.agent
    process = sim.host.agent_process
    if agent is None or agent._pulse is None or process is None or process.dead:
        say("the agent is not up at the end")
        return
    readers = {bot.name for bot in sim.bots if bot.reads}
    stories: dict[str, list[dict[str, Any]]] = {}
    after = 0
    while page := agent.intents.outbox.export(after):
        after = page[-1]["seq"]
        for story in page:
            stories.setdefault(story["intent"]["client_order_id"], []).append(story)
    for client_id, (seq, bot_id) in sim.observer.journaled.items():
        if client_id not in stories:  # compacted: then its bot has it
            heard = sim.observer.answers.get(seq) or sim.observer.news_of.get((bot_id, seq))
            if heard is None and bot_id in readers and client_id in sim.observer.ever_written:
                say(f"rule 2: {client_id} (intent {seq}) left the journal and {bot_id} never heard of it")
    for client_id, told in stories.items():
        if not client_id:
            continue
        story = told[-1]
        state = State(story["state"])
        truth = client_id in by_id
        if state in KNOWN and KNOWN[state] != truth and len(told) == 1:
            say(
                f"rule 8: the journal says {state.value} of {client_id}; the venue {'has' if truth else 'never had'} it"
            )
        seq, bot_id = str(story["seq"]), story["intent"]["bot_id"]
        answered = sim.observer.answers.get(seq)
        news = sim.observer.news_of.get((bot_id, seq))
        if answered is not None and answered[1] is not Outcome.UNKNOWN:
            continue
        if bot_id not in readers:
            continue
        if state is State.FAILED and client_id not in sim.observer.ever_written:
            continue  # the disk did not take it: it was refused, never accepted
        if news is None:
            say(f"rule 2: {bot_id} never heard what became of {client_id} (intent {seq}, {state.value})")
        elif state in KNOWN and (news.outcome is Outcome.OK) != truth:
            say(f"rule 2: {bot_id} was told {news.outcome} of {client_id}; the venue's truth is {truth}")
