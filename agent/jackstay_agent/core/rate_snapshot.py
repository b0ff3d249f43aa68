"""A limiter's memory as plain values: a restarted agent must not spend a venue's budget twice or forget a ban.

Everything read back is doubted; what belongs to rules that no longer exist is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackstay_protocols.errors import ValidationError

from .bounds import LONGEST_S, check_number
from .verdict import GateScope

if TYPE_CHECKING:
    from .rate_limit import Limiter

VERSION = 1


def snapshot(limiter: Limiter, now: float) -> dict[str, Any]:
    limiter.advance(now)
    return {
        "version": VERSION,
        "budgets": [[rule, whose, budget.dump(now)] for (rule, whose), budget in limiter._budgets.items()],
        "gates": [
            [scope.value, whose, gate.until - now, gate.why, gate.ban]
            for (scope, whose), gate in limiter._gates.closed.items()
        ],
        "ramps": [[scope.value, whose, ends_at - now] for (scope, whose), ends_at in limiter._gates.ramping().items()],
    }


def restore(limiter: Limiter, data: dict[str, Any], now: float, elapsed_s: float) -> None:
    own = "limiter snapshot"
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValidationError(f"{own} is no table of version {VERSION}: start without it")
    check_number(own, "elapsed_s", elapsed_s, 0.0, 10 * 365 * 86_400)
    try:
        for rule, whose, rows in data["budgets"]:
            if rule in limiter.rules:
                limiter._budget(rule, str(whose)).load(rows, now)
        for scope, whose, left_s, why, ban in data["gates"]:
            check_number(own, "gate left_s", left_s, 0.0, LONGEST_S)
            key = (GateScope(scope), str(whose))
            if left_s > elapsed_s:
                limiter._gates.close(key, now + left_s - elapsed_s, now, str(why)[:200], bool(ban))
            elif key[0] in (GateScope.IP, GateScope.KEY):  # it opened while nobody looked: no stampede all the same
                limiter._gates.restore_ramp(key, now, limiter.settings.ramp.ramp_s + left_s - elapsed_s)
        for scope, whose, left_s in data.get("ramps", ()):
            check_number(own, "ramp left_s", left_s, 0.0, LONGEST_S)
            limiter._gates.restore_ramp((GateScope(scope), str(whose)), now, left_s - elapsed_s)
    except (KeyError, TypeError, ValueError) as error:
        raise ValidationError(f"{own} is damaged ({type(error).__name__}): start without it") from error
