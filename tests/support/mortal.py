"""A process that is killed between two of its steps, without a process: nothing outside hears of it any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Nothing that a process does when it fails is done, as after SIGKILL; so no `except Exception` may see it."""


class Life:
    """Lets so many steps be taken, and none after them.

    Attributes:
        taken: Steps taken.
    """

    def __init__(self, steps: float) -> None:
        self._steps = steps
        self.taken = 0

    def step(self) -> None:
        """Takes one. Raises Killed."""
        if self.taken >= self._steps:
            raise Killed
        self.taken += 1


class Mortal:
    """Something outside the process (a store, a collection, a bus), each awaited call of which is a step.

    Args:
        target: What it stands before.
        life: Whose steps they are.
    """

    def __init__(self, target: Any, life: Life) -> None:
        self._target = target
        self._life = life

    def __getitem__(self, name: str) -> Mortal:
        return Mortal(self._target[name], self._life)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **more: Any) -> Any:
            self._life.step()
            return await getattr(self._target, name)(*args, **more)

        return call
