"""What a bot reports of its own accord, as the wire takes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jackstay_protocols.errors import ErrorSeverity, Reason, ValidationError
from jackstay_protocols.messages import ReportError

from .call import plain, short


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
    """``error_type`` defaults to the exception's class name. Raises ValidationError for an unknown severity."""
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
        details=plain(details or {}),
    )
