"""A small drawing surface: 460 x 420 units, origin at the top left, y down."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]

INK = "#20242b"
SOFT = "#9aa1ab"
PALE = "#eef0f3"


class Canvas:
    """Shapes in units; scales them to the picture's pixels."""

    def __init__(
        self, image: Image.Image, scale: int, accent: str, font: Callable[[int], ImageFont.FreeTypeFont]
    ) -> None:
        self.accent = accent
        self.tint = _mix(accent, 0.78)
        self.mid = _mix(accent, 0.45)
        self._draw = ImageDraw.Draw(image)
        self._scale = scale
        self._font = font

    def circle(
        self, center: Point, radius: float, fill: str | None = None, line: str | None = None, width: float = 3
    ) -> None:
        """A disc or a ring."""
        x, y = center
        box = self._points([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse([*box[0], *box[1]], fill=fill, outline=line, width=round(width * self._scale))

    def oval(
        self,
        center: Point,
        rx: float,
        ry: float,
        turn: float = 0,
        *,
        fill: str | None = None,
        line: str | None = None,
        width: float = 3,
    ) -> None:
        """An ellipse turned by `turn` degrees."""
        self.shape(oval_points(center, rx, ry, turn), fill=fill, line=line, width=width)

    def shape(
        self, points: Sequence[Point], fill: str | None = None, line: str | None = None, width: float = 3
    ) -> None:
        """A closed polygon."""
        scaled = self._points(points)
        if fill:
            self._draw.polygon(scaled, fill=fill)
        if line:
            self._draw.line([*scaled, scaled[0], scaled[1]], fill=line, width=round(width * self._scale), joint="curve")

    def path(self, points: Sequence[Point], line: str = INK, width: float = 3) -> None:
        """An open line through points."""
        self._draw.line(self._points(points), fill=line, width=round(width * self._scale), joint="curve")

    def dashes(self, points: Sequence[Point], line: str = SOFT, width: float = 3, every: int = 2) -> None:
        """An open line of which every second stretch of `every` points is left out."""
        for first in range(0, len(points) - 1, 2 * every):
            self.path(points[first : first + every + 1], line, width)

    def arrow(self, start: Point, end: Point, line: str = INK, width: float = 3, head: float = 12) -> None:
        """A straight arrow."""
        angle = math.atan2(end[1] - start[1], end[0] - start[0])
        base = (end[0] - head * math.cos(angle), end[1] - head * math.sin(angle))
        self.path([start, base], line, width)
        side = head * 0.55
        self.shape(
            [
                end,
                (base[0] - side * math.sin(angle), base[1] + side * math.cos(angle)),
                (base[0] + side * math.sin(angle), base[1] - side * math.cos(angle)),
            ],
            fill=line,
        )

    def box(
        self,
        corner: Point,
        size: Point,
        *,
        fill: str | None = None,
        line: str | None = None,
        radius: float = 0,
        width: float = 3,
    ) -> None:
        """An upright rectangle; `radius` rounds its corners."""
        first, last = self._points([corner, (corner[0] + size[0], corner[1] + size[1])])
        self._draw.rounded_rectangle(
            [*first, *last], radius=radius * self._scale, fill=fill, outline=line, width=round(width * self._scale)
        )

    def text(self, middle: Point, words: str, size: int = 22, fill: str = INK) -> None:
        """Words centred on a point."""
        self._draw.text(self._points([middle])[0], words, font=self._font(size), fill=fill, anchor="mm")

    def _points(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._scale, y * self._scale) for x, y in points]


def polar(center: Point, radius: float, degrees: float) -> Point:
    """The point at `degrees` clockwise from the right of `center`."""
    angle = math.radians(degrees)
    return center[0] + radius * math.cos(angle), center[1] + radius * math.sin(angle)


def arc_points(center: Point, radius: float, first: float, last: float, steps: int = 60) -> list[Point]:
    """Points of a circle's arc between two angles in degrees."""
    return [polar(center, radius, first + (last - first) * step / steps) for step in range(steps + 1)]


def oval_points(center: Point, rx: float, ry: float, turn: float = 0, steps: int = 90) -> list[Point]:
    """Points of an ellipse turned by `turn` degrees."""
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    points = []
    for step in range(steps):
        angle = 2 * math.pi * step / steps
        x, y = rx * math.cos(angle), ry * math.sin(angle)
        points.append((center[0] + x * cosine - y * sine, center[1] + x * sine + y * cosine))
    return points


def _mix(color: str, white: float) -> str:
    channels = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(c + (255 - c) * white):02x}" for c in channels)
