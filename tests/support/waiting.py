"""Waiting for something to become true, without guessing how long it takes."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.25


async def eventually(
    fn: Callable[[], T | Awaitable[T]],
    timeout: float = 10.0,
    *,
    retry_on: tuple[type[BaseException], ...] = (AssertionError,),
    message: str = "",
) -> T:
    """Call ``fn`` (plain or async) until it returns something truthy, and return that.

    Args:
        fn: what is asked; a falsy answer or one of ``retry_on`` means "not yet".
        timeout: seconds until the wait is given up.
        retry_on: exceptions that mean "not yet"; any other one ends the wait at once.
        message: what was awaited, for the failure.

    Raises:
        AssertionError: it did not become true in time; says the last answer or has the last exception as its cause.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    for pause in _pauses():
        failure: BaseException | None = None
        try:
            answer = fn()
            last = await answer if inspect.isawaitable(answer) else answer
        except retry_on as error:
            failure, last = error, error
        if failure is None and last:
            return last  # type: ignore[return-value]
        if time.monotonic() >= deadline:
            raise _gave_up(message, timeout, last) from failure
        await asyncio.sleep(pause)
    raise AssertionError("unreachable: the pauses never end")


def eventually_sync(
    fn: Callable[[], T],
    timeout: float = 10.0,
    *,
    retry_on: tuple[type[BaseException], ...] = (AssertionError,),
    message: str = "",
) -> T:
    """:func:`eventually` for tests and fixtures that run no event loop."""
    deadline = time.monotonic() + timeout
    last: object = None
    for pause in _pauses():
        failure: BaseException | None = None
        try:
            last = fn()
        except retry_on as error:
            failure, last = error, error
        if failure is None and last:
            return last  # type: ignore[return-value]
        if time.monotonic() >= deadline:
            raise _gave_up(message, timeout, last) from failure
        threading.Event().wait(pause)
    raise AssertionError("unreachable: the pauses never end")


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


def _gave_up(message: str, timeout: float, last: object) -> AssertionError:
    return AssertionError(f"{message or 'the condition'} did not come true in {timeout:g} s; last answer: {last!r}")
