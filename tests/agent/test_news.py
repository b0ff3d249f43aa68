"""Outcomes reach their bot until its code has them: in pages, again after silence, never lost by a deaf socket."""

from __future__ import annotations

import pytest

from jackstay_agent.news import PAGE, REPEAT_S, News
from jackstay_protocols.errors import Outcome
from jackstay_protocols.messages import OutcomeNews
from outbox_world import World, order, seq_of


class Bot:
    """What reached a bot; ``here`` False: no socket of it."""

    def __init__(self) -> None:
        self.here = True
        self.heard: list[str] = []

    def __call__(self, _bot_id: str, news: OutcomeNews) -> bool:
        if self.here:
            self.heard.append(news.intent)
        return self.here


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def news(world: World, bot: Bot) -> News:
    return News(lambda: world.box, deliver=bot, clock=lambda: world.now)


def settled(world: World, count: int) -> list[int]:
    """So many posted orders, done."""
    seqs = []
    for number in range(count):
        seq = seq_of(world.box.enqueue(order(number, symbol=f"S{number}")))
        world.box.mark_in_flight(seq)
        world.box.finish(seq, Outcome.OK, status=200)
        seqs.append(seq)
    return seqs


def test_a_bot_that_comes_back_hears_all_of_it_page_by_page(world: World, bot: Bot, news: News) -> None:
    """The first page at its hello, the next when it has acknowledged half; each once."""
    seqs = settled(world, 3 * PAGE)
    assert news.begin("bot") == 3 * PAGE
    assert bot.heard == [str(seq) for seq in seqs[:PAGE]]
    while (unread := world.box.uncollected_numbers("bot")) != []:
        world.box.ack("bot", unread[: PAGE // 2])
        news.acknowledged("bot")
    assert bot.heard == [str(seq) for seq in seqs]


def test_what_is_not_acknowledged_is_told_again_with_growing_pauses(world: World, bot: Bot, news: News) -> None:
    """A socket that took it proves nothing; but nobody is flooded."""
    news.begin("bot")
    (seq,) = settled(world, 1)
    news.tell("bot", seq)
    news.tick()
    assert bot.heard == [str(seq)]
    world.pass_time(REPEAT_S)
    news.tick()
    news.tick()
    assert bot.heard == [str(seq)] * 2
    world.pass_time(REPEAT_S)
    news.tick()
    assert len(bot.heard) == 2
    world.pass_time(REPEAT_S)
    news.tick()
    assert len(bot.heard) == 3
    assert news.repeated == 2
    world.box.ack("bot", [seq])
    news.acknowledged("bot")
    world.pass_time(1_000.0)
    news.tick()
    assert len(bot.heard) == 3


def test_a_bot_that_is_not_here_is_told_at_its_next_hello(world: World, bot: Bot, news: News) -> None:
    """Nothing is kept for it in memory, and nothing is lost."""
    (seq,) = settled(world, 1)
    news.tell("bot", seq)
    assert bot.heard == []
    news.begin("bot")
    bot.here = False
    news.tell("bot", seq)
    world.pass_time(REPEAT_S)
    news.tick()
    bot.here = True
    news.tick()
    assert bot.heard == [str(seq)]
    news.begin("bot")
    assert bot.heard == [str(seq)] * 2


def test_more_than_a_page_of_unread_news_waits_in_the_file(world: World, bot: Bot, news: News) -> None:
    """A bot that acknowledges nothing is told a page; the rest follows its acknowledgements."""
    news.begin("bot")
    seqs = settled(world, PAGE + 5)
    for seq in seqs:
        news.tell("bot", seq)
    assert len(bot.heard) == PAGE
    world.box.ack("bot", seqs[:PAGE])
    news.acknowledged("bot")
    assert bot.heard[PAGE:] == [str(seq) for seq in seqs[PAGE:]]


def test_acknowledgements_of_answered_calls_tell_nothing(world: World, bot: Bot, news: News) -> None:
    """The hot path: a direct call's outcome travelled with its reply and is not repeated as news."""
    news.begin("bot")
    first, second = (seq_of(world.box.begin(order(n, symbol=f"S{n}"))) for n in (1, 2))
    for seq in (first, second):
        world.box.finish(seq, Outcome.OK)
    world.box.ack("bot", [first])
    news.acknowledged("bot")
    assert bot.heard == []
