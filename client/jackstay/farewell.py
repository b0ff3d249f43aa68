"""A deploy is not a death: say GOODBYE when the process ends without `close()` (DESIGN §4).

At exit always; on SIGTERM only where the bot left the signal alone. The bot's own handler is never replaced: one that
is installed before wins, one that is installed later replaces ours, and one that chains to ours keeps its own end.
Both ways use a fresh socket, because the interrupted one may be in the middle of a call.

Known limit: with any Python-level handler, a main thread stuck inside C code does not act on SIGTERM until it returns.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from types import FrameType

from jackstay_protocols.clock import boot_us
from jackstay_protocols.errors import TradingBotError
from jackstay_protocols.messages import Goodbye

from .channel import Line, close_own_wires
from .membership import Membership, all_here

WAIT_S = 0.25  # an agent that is not there must not hold up the bot's end

_prepared = False


def prepare() -> None:
    """Hooks for the process's end, once. A forked child inherits them; they act on its own sessions only."""
    global _prepared
    if not _prepared:
        _prepared = True
        atexit.register(_at_exit)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


def say_goodbye(membership: Membership, word: Goodbye, *, wait_s: float = WAIT_S) -> bool:
    """Acknowledge what was handed over and say the last word, once; True when the agent heard it.

    Never raises for an agent that is not there: it will see the process end by itself.
    """
    if membership.left or membership.welcome is None or membership.pid != os.getpid():
        return False
    membership.left = True
    line = None
    try:
        line = Line(membership)
        deadline_us = boot_us() + int(wait_s * 1e6)
        line.ask(word, deadline_us)
    except TradingBotError:
        return False
    except OSError:  # ZMQError too: the folder is gone, no more sockets
        return False
    finally:
        membership.left = True  # the greeting on the way here was no return
        if line is not None:
            line.close()
    return True


def say_goodbye_to_all(reason: str) -> None:
    for membership in all_here():
        say_goodbye(membership, membership.last_word or Goodbye(reason=reason))


def _at_exit() -> None:
    say_goodbye_to_all("exit")
    close_own_wires()


def _on_sigterm(signum: int, frame: FrameType | None) -> None:
    say_goodbye_to_all("SIGTERM")
    if signal.getsignal(signum) is _on_sigterm:
        # the default's effect, and the exit status that a supervisor expects
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
