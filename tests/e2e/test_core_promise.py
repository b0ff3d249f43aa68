"""The core promise: each recovery happens while the bot is stopped, and goes on wherever the agent is killed in it.

`make recoveries` plays every death alone: before each step, between a step and its journal, while a step waits. Here
one run of each scenario dies in every step in turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core_promise import CASES, Case, Stage, play
from e2e_bot import quick_profiles

PAGE = {"status": 503, "body": "<html>no</html>", "headers": [["Content-Type", "text/html"]]}
QUICK_BREAKER = (
    "[errors.breakers.api_calls]\nfailure_threshold = 1\nopen_s = 0.5\nopen_growth = 1.0\nopen_spread = 0.0\n"
)
DEATHS = [(name, step, when) for name, case in CASES.items() for step in case.steps for when in ("before", "after")]
#: Steps that wait: the agent dies in the middle of that, too.
DEATHS += [
    ("network_disconnection", "reconnect", "during"),
    ("exchange_maintenance", "wait_for_the_end", "during"),
    ("data_feed_interruption", "come_back", "during"),
    ("api_rate_limit", "wait_for_the_instant", "during"),
]
# A plan that ends in a step has nothing to journal after it but its end.
ALONE = [each for each in DEATHS if each != ("order_rejection", "resubmit", "after")]


def killed_in_each(case: Case) -> list[tuple[str, str]]:
    return [(step, "after") for step in case.steps if (case.name, step, "after") in ALONE]


def told(stage: Stage, case: Case) -> None:
    """The time line is printed, and tells it all: stopped, fault, begin, each step, end, and still stopped."""
    rows = stage.time_line(case.name)
    print("\n".join([case.name, *rows]))
    words = [row[13:] for row in rows]
    landmarks = ["the bot is stopped", "the fault begins", "begun", *(f"step {each}" for each in case.steps)]
    ends = [each for each in words if each.split()[0] == case.ends]
    landmarks += [*ends[-1:], "venue and agent agree, and the bot is still stopped"]
    assert ends, words
    at = [len(words) - 1 - words[::-1].index(each) if each in ends else words.index(each) for each in landmarks]
    assert at == sorted(at), [words[each] for each in at]
    assert words.count("the agent was killed") == stage.deaths


def breaker(stage: Stage) -> list[dict[str, Any]]:
    found = [row for kind in ("open", "half_open", "probed", "closed") for row in stage.agent.events(f"breaker.{kind}")]
    return sorted((row for row in found if row["class"] == "orders"), key=lambda row: str(row["timestamp"]))


#: In every `make test`; the others with `make recoveries`.
OFTEN = frozenset({"network_disconnection", "exchange_maintenance", "partial_fill", "order_rejection"})
EACH = [pytest.param(name, marks=[] if name in OFTEN else [pytest.mark.soak]) for name in CASES]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", EACH)
def test_a_stopped_bots_trouble_is_recovered_though_the_agent_dies_in_every_step(name: str, tmp_path: Path) -> None:
    """Done and not yet journaled is the worst moment of each step; the end is the venue's truth."""
    case = CASES[name]
    with Stage(tmp_path, mortal=True) as stage:
        play(stage, case, killed_in_each(case))
        told(stage, case)
        assert [step for step in case.steps if step not in stage.steps(name)] == []


@pytest.mark.soak
@pytest.mark.parametrize("name", CASES)
def test_each_scenario_is_detected_and_carried_out_without_the_bot(name: str, tmp_path: Path) -> None:
    """From before the fault until after the end the bot is stopped; each step once, in order."""
    case = CASES[name]
    with Stage(tmp_path) as stage:
        play(stage, case, [])
        told(stage, case)
        steps = stage.steps(name)
        assert steps[: len(case.steps)] == list(case.steps)


def test_a_breaker_opens_probes_and_closes_while_the_bot_is_stopped_and_orders_wait(tmp_path: Path) -> None:
    """The queue meets a venue that fails; a first probe fails, the next closes it; each waiting order is there once."""
    with Stage(tmp_path, QUICK_BREAKER + quick_profiles(tmp_path / "profiles")) as stage:
        stage.main.admin.save()
        stage.main.kill()
        stage.say("queue")
        stage.stop_bot()
        stage.main.start()
        stage.main.admin.fault("answer", route="POST /api/v3/order", count=1, **PAGE)
        stage.event("queue.unknown")
        stage.main.admin.fault("answer", route="GET /api/v3/openOrderList", **PAGE)
        stage.event("breaker.open", **{"class": "orders", "was": "closed"})
        stage.event("breaker.open", **{"class": "orders", "was": "half_open"})
        stage.main.admin.clear()
        stage.event("breaker.closed", **{"class": "orders"})
        print(
            *[f"{each['timestamp'][11:23]} {each['event']} {each.get('was', '')}" for each in breaker(stage)], sep="\n"
        )
        stage.until(lambda: {"q2", "q3"} <= stage.open(), "the waiting orders are at the venue")
        assert stage.bot_is_stopped()
        for name in ("q1", "q2", "q3"):
            rows = [row for row in stage.main.admin.ledger(client_order_id=name) if row["method"] == "POST"]
            assert len(rows) == 1, rows
        assert stage.order("q1") == "absent", "the venue refused it; nobody sent it again"
        stage.agrees()


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "step", "when"), ALONE)
def test_a_death_of_the_agent_at_any_one_step_changes_nothing(name: str, step: str, when: str, tmp_path: Path) -> None:
    """One death, at each of the places in turn."""
    with Stage(tmp_path, mortal=True) as stage:
        play(stage, CASES[name], [(step, when)])
