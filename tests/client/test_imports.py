"""What a bot pays for `import jackstay`: little, and only what it uses."""

from __future__ import annotations

import subprocess
import sys

import pytest


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_bare_import_loads_no_sockets() -> None:
    """A backtest with JACKSTAY=off never pays for ZeroMQ or asyncio."""
    loaded = modules_after("import jackstay")
    assert not loaded & {"zmq", "msgpack", "msgspec", "asyncio", "ccxt", "requests", "aiohttp"}
    assert not any(name.startswith("jackstay_agent") for name in loaded)


def test_a_blocking_bot_never_pays_for_asyncio() -> None:
    """Nor for any library it did not import itself."""
    loaded = modules_after("import jackstay; jackstay.Client")
    assert not loaded & {"asyncio", "ccxt", "requests", "aiohttp", "uvloop", "psutil", "tempfile"}
    assert not any(name.startswith("jackstay_agent") for name in loaded)


def test_an_asyncio_bot_needs_no_zmq_asyncio() -> None:
    """The descriptor is read directly."""
    loaded = modules_after("import jackstay; jackstay.AsyncClient")
    assert not loaded & {"zmq.asyncio", "ccxt", "requests", "aiohttp"}


@pytest.mark.parametrize(
    "name",
    [
        "Client",
        "AsyncClient",
        "Response",
        "Verdict",
        "attach",
        "detach",
        "Posted",
        "FeedMessage",
        "Lagged",
        "AgentGone",
        "Refused",
        "DeadlineExceeded",
        "OutcomeUnknown",
        "NotYet",
        "TradingBotError",
        "Lane",
        "Outcome",
        "Reason",
    ],
)
def test_the_public_names_are_there(name: str) -> None:
    """By attribute, by __all__ and by dir()."""
    import jackstay

    assert getattr(jackstay, name) is not None
    assert name in jackstay.__all__
    assert name in dir(jackstay)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Lazy loading hides no typing mistake."""
    import jackstay

    with pytest.raises(AttributeError, match="Cleint"):
        jackstay.Cleint  # type: ignore[attr-defined]  # noqa: B018
