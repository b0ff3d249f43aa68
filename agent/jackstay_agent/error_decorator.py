"""`error_handler_decorator`: one line over a function, method or coroutine, and its errors are handled (CONTRACT).

The original error is always raised again, with its cause, after handling; only a function declared ``idempotent=True``
whose scenario recovered is called once more. Cancellation passes untouched.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from jackstay_protocols.errors import ValidationError

if TYPE_CHECKING:
    from .error_handler import ErrorHandler

F = TypeVar("F", bound=Callable[..., Any])

# Recoveries started from plain functions inside a running loop; kept here, for a loop keeps only weak references.
_RECOVERIES: set[Any] = set()


def error_handler_decorator(
    config: Any,
    component: str,
    recovery_scenario: Any = None,
    *,
    idempotent: bool = False,
    handler: ErrorHandler | None = None,
    operation: str | None = None,
) -> Callable[[F], F]:
    """Handle what the decorated function raises, then raise it again.

    ``idempotent``: calling twice does no more than calling once, so after a recovery it is called once more.
    ``handler``: use (and fill) this one instead of an own `ErrorHandler(config)`. ``operation``: the function's name by
    default. A plain function called inside a running event loop cannot wait: its recovery runs as a task and the error
    is raised at once. Generator functions are refused, for their errors come later than their call.
    """

    def decorate(func: Any) -> Any:
        if isinstance(func, staticmethod | classmethod):
            return type(func)(decorate(func.__func__))
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise ValidationError(
                f"{getattr(func, '__name__', func)} is a generator function; decorate what consumes it instead"
            )
        return _Handled(_handler(config, handler), component, operation, recovery_scenario, idempotent).wrap(func)

    return decorate


def _handler(config: Any, handler: ErrorHandler | None) -> ErrorHandler:
    from .error_handler import ErrorHandler

    return handler if handler is not None else ErrorHandler(config)


def is_coroutine_function(func: Any) -> bool:
    """Also for an object whose ``__call__`` is one, which `inspect` alone takes for a plain function."""
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(type(func), "__call__", None))  # noqa: B004


class _Handled:
    def __init__(
        self, handler: ErrorHandler, component: str, operation: str | None, scenario: Any, idempotent: bool
    ) -> None:
        self._handler = handler
        self._component = component
        self._operation = operation
        self._scenario = scenario
        self._idempotent = idempotent

    def wrap(self, func: Callable[..., Any]) -> Callable[..., Any]:
        operation = self._operation or str(getattr(func, "__qualname__", type(func).__name__))

        async def seen_through(begun: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            try:
                return await (func(*args, **kwargs) if begun is None else begun)
            except Exception as error:
                context = self._handler.create_error_context(error, self._component, operation)
                recovered = await self._handler.handle_error(context, self._scenario)
                if not (recovered and self._idempotent):
                    raise
            return await func(*args, **kwargs)

        async def handled(*args: Any, **kwargs: Any) -> Any:
            return await seen_through(None, args, kwargs)

        def handled_plainly(*args: Any, **kwargs: Any) -> Any:
            try:
                result = func(*args, **kwargs)
            except Exception as error:
                if not (self._recover_plainly(error, operation) and self._idempotent):
                    raise
                return func(*args, **kwargs)
            # A plain function around a coroutine: what it raises comes when it is awaited.
            return seen_through(result, args, kwargs) if inspect.iscoroutine(result) else result

        return functools.wraps(func)(handled if is_coroutine_function(func) else handled_plainly)

    def _recover_plainly(self, error: Exception, operation: str) -> bool:
        """Handle from a plain function: at once without a scenario, in an own loop with one."""
        context = self._handler.create_error_context(error, self._component, operation)
        if self._scenario is None:
            self._handler.record(context)
            return False
        import asyncio

        handling = self._handler.handle_error(context, self._scenario)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(handling)
        task = loop.create_task(handling)
        _RECOVERIES.add(task)
        task.add_done_callback(_RECOVERIES.discard)
        return False
