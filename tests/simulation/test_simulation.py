"""The agent in a simulated world keeps its promises, seed after seed, and the simulation would notice if it did not."""

from __future__ import annotations

import hashlib
import os
from random import SystemRandom

import pytest

from simulation.campaign import campaign, replay_command, strays
from simulation.mutants import MUTANTS
from simulation.run import run

SEEDS = int(os.environ.get("SEEDS", "60"))

#: Seeds that found a bug once, with what they found; all bugs are fixed.
KEPT = {
    "408": "after a suspend the pool noticed deadlines late; a caller that left got a twin instead of the truth",
    "225": "the outcome of a call whose caller had left was told to nobody",
    "421": "an order placed while the wall clock was an hour ahead looked too old to be ours for ever",
    "591": "the same, with the venue's clock learned between reading and writing down",
    "d8bfa987-52": "the same, two seconds ahead: the bot's timestamp was accepted because it had waited in the agent",
    "98": "a proxy delivered an order twice, and the refusal of the second one was told as the truth",
    "468": "a proxy answered twice, and the second answer was taken for the next order's",
    "879": "the same with a cancel's refusal",
    "1312": "outcomes in a file that was opened late, because the disk was full at the start, were never told",
    "2cc7bae0-574": "what was written while the clock was an hour behind left the journal once it was right",
    "a9e48204-695": "an order that was sent before the venue's time was known looked older than itself after a restart",
    "04e48d24-1036": "the same without a restart",
    "ddeb2d94-840": "the same across a loss of power: by a clock that had been ahead it was sent later than now",
    "2fb42e75-1086": "the world counted as at rest while the agent was still frozen (the simulator's own fault)",
}


#: Found once bots could be patient.
KEPT_PATIENT = {
    "b99adf82-1516": "an order waited for its equal, then behind others; its bot heard of the equal meanwhile: a twin",
    "1d82b01b-1457": "a connection's end was held back by a partition that was over (the simulator's own fault)",
}
#: Found once callers could leave early.
KEPT_LEAVING = {
    "313a73b6-1443": "a caller left while its order was under way, and placed it again: to its bot it was unknown",
    "5580ae1b-520": "a caller left while its order was written to the disk, and placed it again: both were sent",
}
#: What the weather had not learned when a seed was kept: without it the seed is what it was.
SINCE = dict.fromkeys(KEPT, frozenset({"patient", "leaving"})) | dict.fromkeys(KEPT_PATIENT, frozenset({"leaving"}))
SINCE |= dict.fromkeys(KEPT_LEAVING, frozenset())


@pytest.mark.timeout(600)
def test_many_seeds_hold() -> None:
    """Whatever the seed (SEEDS=n: fresh ones): nothing is sent twice, lost or stale, and in the end all rests."""
    base = f"{SystemRandom().getrandbits(32):08x}" if "SEEDS" in os.environ else "kept"
    print(f"simulation: {SEEDS} seeds from base {base}")
    bad, _seen, _virtual_s = campaign([f"{base}-{number}" for number in range(SEEDS)], 1)
    assert not bad, f"{bad[0].violations[0]}; replay: {replay_command(bad[0].seed)}"


@pytest.mark.parametrize("seed", SINCE)
def test_seeds_that_found_bugs_hold(seed: str) -> None:
    """What was found once does not come back."""
    assert run(seed, without=SINCE[seed]).violations == []


def test_an_error_that_nobody_could_get_is_found() -> None:
    """What Python only prints ("Exception ignored in ...") counts, so that a clean run means a silent one."""

    class Careless:
        def __del__(self) -> None:
            raise OSError("too late")

    with strays() as found:
        Careless()
    assert [each for each in found if "too late" in each] == found != []


@pytest.mark.parametrize("seed", ["determinism-1", "determinism-2", "determinism-3"])
def test_a_seed_replays_exactly(seed: str) -> None:
    """The same seed gives the same trace, event for event: a failure found anywhere can be looked at."""
    traces = [hashlib.sha256(repr(run(seed).trace).encode()).hexdigest() for _ in range(2)]
    assert traces[0] == traces[1]


@pytest.mark.parametrize(
    "name",
    [
        "resend on timeout",
        "equal order sent while unknown",
        "sent before journal",
        "silence taken for absence",
        "lost wake-up",
    ],
)
def test_planted_bugs_are_found(name: str) -> None:
    """A bug planted in the agent is found within the stated number of seeds: the test of the test."""
    mutant, within = MUTANTS[name]
    assert any(not run(f"mutant-{number}", mutant=mutant).ok for number in range(within))
