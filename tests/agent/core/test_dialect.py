"""jackstay_agent.core.dialect: how a socket is asked, and which topic a message names."""

from __future__ import annotations

import pytest

from jackstay_agent.core.dialect import DIALECTS, Dialect, check_topic
from jackstay_agent.core.feed_rules import SocketRules
from jackstay_agent.core.heartbeat import HeartbeatRules
from jackstay_agent.core.redial import RedialRules
from jackstay_protocols.errors import ValidationError

ONE = Dialect("one", topic_fields=("stream",), control=('{"result"',), notices=("serverShutdown",))
TWO = Dialect("two", topic_fields=("channel", "symbol"), control=('{"method"',))


@pytest.mark.parametrize(
    ("dialect", "payload", "topic"),
    [
        (ONE, b'{"stream":"a@trade","data":{}}', b"a@trade"),
        (ONE, b'{"x":1,"stream":"a@trade"}', b"a@trade"),
        (ONE, b'{"result":null,"id":1}', None),
        (ONE, b'{"nothing":"here"}', None),
        (ONE, b'{"stream":"cut off', None),
        (TWO, b'{"channel":"book","symbol":"BTC/USD"}', b"book:BTC/USD"),
        (TWO, b'{"channel":"book"}', None),
        (TWO, b'{"channel":"cut off', None),
        (TWO, b'{"method":"subscribe","channel":"x","symbol":"y"}', None),
        (DIALECTS["raw"], b"anything", None),
    ],
)
def test_a_message_names_its_topic(dialect: Dialect, payload: bytes, topic: bytes | None) -> None:
    """Usual place, other place, control message, no topic, truncated."""
    assert dialect.topic_of(payload) == topic


def test_control_messages_errors_and_notices_are_told_apart() -> None:
    """What is no market data is recognised by its opening or its words."""
    assert ONE.is_control(b'{"result":null}')
    assert not DIALECTS["raw"].is_control(b"x")
    assert ONE.is_error(b'{"result":null,"error":{"code":2}}')
    assert not ONE.is_error(b'{"result":null}')
    assert ONE.is_notice(b'{"e":"serverShutdown"}')
    assert not ONE.is_notice(b'{"e":"trade"}')
    assert ONE.head == b'{"stream":"'
    assert TWO.head == b""


def test_asking_fills_templates_in_groups() -> None:
    """Items are grouped; parts of a topic find their places; a dialect without templates asks nothing."""
    dialect = Dialect("d", subscribe='{"sub":[$items],"id":$id}', item='{"c":"$1","s":"$2","x":"$9"}', items_max=2)
    messages = dialect.asks(["book:BTC", "book:ETH", "trade:BTC"], iter([7, 8]))
    assert [number for number, _ in messages] == [7, 8]
    assert '{"c":"book","s":"BTC","x":""}' in messages[0][1]
    assert messages[1][1].endswith('"id":8}')
    single = Dialect("s", subscribe='{"op":"$topic"}', unsubscribe='{"no":"$topic"}', items_max=1)
    assert single.asks(["a"], [1]) == [(1, '{"op":"a"}')]
    assert single.asks(["a"], [1], leave=True) == [(1, '{"no":"a"}')]
    assert DIALECTS["raw"].asks(["a"], [1]) == []


@pytest.mark.parametrize("topic", ["", "with space", 'quo"te', "back\\slash", "ümlaut", "x" * 5000])
def test_a_topic_that_could_break_a_template_is_refused(topic: str) -> None:
    """Printable ASCII without space, quote and backslash, within bounds."""
    with pytest.raises(ValidationError):
        check_topic(topic)
    assert check_topic("btcusdt@trade") == "btcusdt@trade"


def test_socket_rules_are_values() -> None:
    """What a socket goes by cannot change under it."""
    rules = SocketRules(HeartbeatRules(), RedialRules(), 30.0, 4.0, "ping")
    with pytest.raises(AttributeError):
        rules.heartbeat_text = "x"  # type: ignore[misc]
