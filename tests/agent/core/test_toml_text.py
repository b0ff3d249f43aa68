"""Any text is a TOML document or an error of the text."""

from __future__ import annotations

import tomllib

import pytest

from jackstay_agent.config import Config
from jackstay_agent.core.toml_text import toml_document
from jackstay_protocols.errors import TradingBotError

DEEP = "[agent]\nlog_level = " + "[" * 5_000


def test_a_document_is_read() -> None:
    """As the standard library reads it, with as many levels as anybody could mean."""
    assert toml_document("[a]\nb = [1, '2']") == {"a": {"b": [1, "2"]}}
    assert toml_document("a." * 63 + "b = 1")["a"]


@pytest.mark.parametrize("text", ["a = ", DEEP, DEEP + "]" * 5_000, "a." * 64 + "b = 1", "a." * 3_000 + "b = 1"])
def test_what_is_none_is_said(text: str) -> None:
    """Broken, or nested deeper than the parser can follow: never the interpreter's own error."""
    with pytest.raises(tomllib.TOMLDecodeError):
        toml_document(text)
    with pytest.raises(TradingBotError, match="not TOML"):
        Config.from_toml(text)
