"""The drawn figures: one function a figure, found by the name a talk's script gives."""

from __future__ import annotations

from maker.figures import bees, coffee, gps
from maker.figures.canvas import Canvas

__all__ = ["Canvas", "draw"]

_FIGURES = {**bees.FIGURES, **coffee.FIGURES, **gps.FIGURES}


def draw(name: str, canvas: Canvas) -> None:
    """Draws figure `name`.

    Raises:
        KeyError: there is no such figure.
    """
    _FIGURES[name](canvas)
