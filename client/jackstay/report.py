"""What a bot reports of its own accord, as the wire takes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstay_protocols.errors import ErrorSeverity, Reason, ValidationError
from jackstay_protocols.messages import ReportError

from .call import plain, short

CAUSES_MAX = 8


def error_report(
    error: BaseException | str,
    component: str,
    operation: str,
    error_type: str | None,
    severity: ErrorSeverity | str | None,
    symbol: str | None,
    order_id: str | None,
    details: Mapping[str, Any] | None,
) -> ReportError:
    """``error_type`` defaults to the exception's class name; what it was raised from travels as ``details["causes"]``,
    nearest first. Raises ValidationError for an unknown severity.
    """
    if error_type is None:
        error_type = type(error).__name__ if isinstance(error, BaseException) else "Error"
    if severity is not None and severity not in set(ErrorSeverity):
        raise ValidationError(
            f"severity {severity!r}; one of {', '.join(ErrorSeverity)} is expected", reason=Reason.BAD_REQUEST
        )
    return ReportError(
        component=short(component),
        operation=short(operation),
        error_type=short(error_type),
        message=short(str(error)),
        severity=str(severity or ""),
        symbol=symbol or "",
        order_id=order_id or "",
        details=plain(_with_causes(error, details or {})),
    )


def _with_causes(error: BaseException | str, details: Mapping[str, Any]) -> Mapping[str, Any]:
    """The chain of ``__cause__`` (or, where none was named, the exception being handled), bounded."""
    causes: list[str] = []
    cause = error
    while isinstance(cause, BaseException) and len(causes) < CAUSES_MAX:
        following = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        if following is None:
            break
        causes.append(f"{type(following).__name__}: {following}"[:200])
        cause = following
    return {**details, "causes": causes} if causes and "causes" not in details else details
