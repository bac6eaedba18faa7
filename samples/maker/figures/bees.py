"""Figures of the talk on honey."""

from __future__ import annotations

import math

from maker.figures.canvas import INK, PALE, SOFT, Canvas, Point, polar

_GREEN = "#6f9a5b"


def flower(c: Canvas) -> None:
    """A blossom with a drop of nectar."""
    c.path([(230, 230), (226, 320), (232, 396)], _GREEN, 9)
    c.oval((186, 330), 46, 17, 28, fill=_GREEN)
    c.oval((280, 356), 46, 17, -28, fill=_GREEN)
    for petal in range(8):
        c.oval(polar((230, 170), 84, petal * 45), 56, 30, petal * 45, fill=c.tint, line=c.mid, width=2)
    c.circle((230, 170), 46, fill=c.accent)
    for dot in range(12):
        c.circle(polar((230, 170), 27, dot * 30), 4, fill=c.tint)


def bee(c: Canvas) -> None:
    """A bee and the two stomachs."""
    _insect(c, (230, 170), 1.0)
    c.path([(196, 196), (150, 300)], SOFT, 2)
    c.path([(262, 190), (316, 300)], SOFT, 2)
    c.text((136, 322), "honey stomach", 23)
    c.text((136, 352), "40 milligrams", 20, SOFT)
    c.text((322, 322), "own stomach", 23)
    c.text((322, 352), "for the bee", 20, SOFT)
    c.circle((196, 190), 20, fill="#ffffff", line=INK)
    c.circle((196, 190), 13, fill=c.accent)
    c.circle((262, 184), 13, fill="#ffffff", line=INK)


def _insect(c: Canvas, middle: Point, size: float) -> None:
    x, y = middle
    for turn in (-28, 12):
        c.oval((x + 18 * size, y - 66 * size), 30 * size, 66 * size, turn, fill=PALE, line=SOFT, width=2)
    c.oval((x + 20 * size, y + 12 * size), 104 * size, 54 * size, 0, fill=c.accent, line=INK)
    for offset in (0, 36, 72):
        height = 53 * math.sqrt(max(0.0, 1 - ((offset - 6) / 104) ** 2)) * size
        left, right = x + (offset + 8) * size, x + (offset + 24) * size
        c.shape(
            [
                (left, y + 12 * size - height),
                (right, y + 12 * size - height * 0.94),
                (right, y + 12 * size + height * 0.94),
                (left, y + 12 * size + height),
            ],
            fill=INK,
        )
    c.circle((x - 104 * size, y + 2 * size), 36 * size, fill=INK)
    c.circle((x - 116 * size, y - 6 * size), 8 * size, fill="#ffffff")
    c.path([(x - 122 * size, y - 28 * size), (x - 150 * size, y - 60 * size)], INK, 4)
    c.path([(x - 104 * size, y - 32 * size), (x - 116 * size, y - 70 * size)], INK, 4)


def dance(c: Canvas) -> None:
    """The figure of eight, its angle, and the sun."""
    middle = (230, 236)
    c.dashes([(230, 380 - step * 8) for step in range(43)], SOFT, 2)
    c.circle((230, 40), 22, fill=c.accent)
    for ray in range(12):
        c.path([polar((230, 40), 28, ray * 30), polar((230, 40), 36, ray * 30)], c.accent, 3)
    tilt = -50
    for side in (-1, 1):
        center = polar(middle, side * 74, tilt + 90)
        c.oval(center, 96, 70, tilt, line=c.mid, width=4)
    c.arrow(polar(middle, -100, tilt), polar(middle, 112, tilt), c.accent, 8, 24)
    c.path([polar((230, 236), 66, angle) for angle in range(-90, -50)], INK, 3)
    c.text((258, 146), "40°", 24)
    c.text((230, 398), "straight up stands for the sun", 19, SOFT)


def sugar(c: Canvas) -> None:
    """Sucrose split into glucose and fructose."""

    def ring(center: Point, fill: str, corners: int) -> None:
        c.shape([polar(center, 48, -90 + 360 / corners * i) for i in range(corners)], fill=fill, line=INK)

    ring((176, 92), c.accent, 6)
    ring((284, 92), c.tint, 5)
    c.path([(218, 92), (238, 92)], INK, 6)
    c.text((230, 166), "sucrose", 24)
    c.arrow((210, 190), (150, 254), SOFT, 4, 16)
    c.arrow((250, 190), (310, 254), SOFT, 4, 16)
    c.text((230, 226), "enzyme", 20, SOFT)
    ring((130, 312), c.accent, 6)
    ring((330, 312), c.tint, 5)
    c.text((130, 388), "glucose", 24)
    c.text((330, 388), "fructose", 24)


def comb(c: Canvas) -> None:
    """Cells from thin nectar to sealed honey."""
    fills = [c.tint, c.mid, c.accent, "#e9d9b0"]
    radius = 50.0
    for row in range(3):
        for column in range(4):
            center = (72 + column * 88 + (44 if row % 2 else 0), 84 + row * 77)
            corners = [polar(center, radius, 30 + 60 * corner) for corner in range(6)]
            c.shape(corners, fill=fills[min(3, column + (1 if row == 2 else 0))], line="#ffffff", width=6)
    c.arrow((60, 330), (404, 330), INK, 3, 14)
    c.text((84, 362), "75 %", 26)
    c.text((232, 362), "water", 22, SOFT)
    c.text((372, 362), "18 %", 26)


def jar(c: Canvas) -> None:
    """A jar of honey and what it takes."""
    c.box((150, 64), (160, 40), fill=INK, radius=8)
    c.box((130, 104), (200, 232), fill=PALE, line=INK, radius=30, width=4)
    c.box((138, 150), (184, 178), fill=c.accent, radius=24)
    c.box((160, 196), (140, 78), fill="#ffffff", radius=6)
    c.text((230, 222), "1 pound", 26)
    c.text((230, 252), "honey", 21, SOFT)
    c.text((230, 376), "2,000,000 flower visits", 24)


FIGURES = {"flower": flower, "bee": bee, "dance": dance, "sugar": sugar, "comb": comb, "jar": jar}
