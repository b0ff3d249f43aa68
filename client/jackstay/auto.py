"""`import jackstay.auto`: every ccxt exchange object made after it trades through the agent (freqtrade and its like).

For bots that hide their exchange object. It wraps the one constructor that all ccxt exchanges share, sync, async and
pro, and attaches what comes out of it; objects made before stay as they are. freqtrade loads the strategy before it
builds its exchange, so the import at the top of the strategy file is early enough.

With JACKSTAY=off it changes nothing and says so in one line on stderr: a backtest with many workers stays untouched.
With JACKSTAY=on (or unset) an exchange object that cannot be attached is an error, never a silent direct line.
"""

from __future__ import annotations

import functools
from typing import Any

from .adapters import off

_MARK = "_jackstay_original"


def install() -> bool:
    """Wrap ccxt's constructor; False with JACKSTAY=off. A second time changes nothing. Raises ImportError."""
    if off():
        return False
    from ccxt.base.exchange import Exchange

    from .adapters import ccxt

    base = next(each for each in reversed(Exchange.__mro__) if "__init__" in each.__dict__ and each is not object)
    original = base.__init__
    if hasattr(original, _MARK):
        return True

    @functools.wraps(original)
    def made(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        ccxt.attach(self)

    setattr(made, _MARK, original)
    base.__init__ = made
    return True


def uninstall() -> None:
    """ccxt's constructor as it was; objects that are attached stay so (`jackstay.detach`)."""
    from ccxt.base.exchange import Exchange

    for each in Exchange.__mro__:
        original = getattr(each.__dict__.get("__init__"), _MARK, None)
        if original is not None:
            each.__init__ = original


install()
