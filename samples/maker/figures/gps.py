"""Figures of the talk on satellite navigation."""

from __future__ import annotations

from maker.figures.canvas import INK, PALE, SOFT, Canvas, Point, arc_points, oval_points, polar

_EARTH = "#7fb3a0"


def _satellite(c: Canvas, center: Point, size: float = 1.0) -> None:
    x, y = center
    for side in (-1, 1):
        c.box((x + side * 30 * size - 18 * size, y - 9 * size), (36 * size, 18 * size), fill=c.mid, line=INK, width=2)
    c.box((x - 11 * size, y - 14 * size), (22 * size, 28 * size), fill=INK, radius=4)


def phone(c: Canvas) -> None:
    """A phone that only receives."""
    _satellite(c, (92, 70))
    _satellite(c, (368, 70))
    _satellite(c, (230, 50))
    for start in ((92, 96), (230, 76), (368, 96)):
        end = (230 + (start[0] - 230) * 0.32, 186)
        c.arrow(start, end, c.mid, 4, 16)
    c.box((176, 196), (108, 190), fill=INK, radius=20)
    c.box((186, 212), (88, 152), fill=PALE, radius=8)
    c.circle((230, 284), 28, fill=c.tint)
    c.circle((230, 284), 12, fill=c.accent)


def orbits(c: Canvas) -> None:
    """Three of the six orbit planes around the Earth."""
    middle = (230, 200)
    for turn in (0, 60, 120):
        points = oval_points(middle, 190, 70, turn)
        c.shape(points, line=SOFT, width=2)
    c.circle(middle, 54, fill=_EARTH, line=INK)
    for turn, place in ((0, 8), (0, 52), (60, 20), (60, 66), (120, 2), (120, 40)):
        _satellite(c, oval_points(middle, 190, 70, turn)[place], 0.72)
    c.text((230, 398), "20,200 km up", 22, SOFT)


def delay(c: Canvas) -> None:
    """The delay, multiplied, is the distance."""
    _satellite(c, (90, 84), 1.3)
    c.dashes([(120 + step * 5, 112 + step * 3.2) for step in range(48)], c.accent, 4)
    c.box((356, 258), (36, 64), fill=INK, radius=8)
    c.circle((374, 284), 8, fill=c.accent)
    c.text((300, 146), "0.07 seconds", 26)
    c.text((230, 360), "delay x speed of light", 24, SOFT)
    c.text((230, 392), "= distance", 26)


def spheres(c: Canvas) -> None:
    """Three circles that meet in one point."""
    meeting = (230, 210)
    for angle, radius in ((215, 106), (325, 92), (90, 92)):
        center = polar(meeting, radius, angle)
        c.circle(center, radius, line=c.mid, width=4)
        _satellite(c, center, 0.7)
    c.circle(meeting, 15, fill=c.accent)
    c.circle(meeting, 24, line=c.accent, width=3)


def einstein(c: Canvas) -> None:
    """A clock in orbit and a clock on the ground."""

    def clock(center: Point, radius: float, minutes: float, label: str) -> None:
        c.circle(center, radius, fill="#ffffff", line=INK, width=5)
        for tick in range(12):
            c.path([polar(center, radius * 0.8, tick * 30), polar(center, radius * 0.9, tick * 30)], SOFT, 3)
        c.path([center, polar(center, radius * 0.72, minutes * 6 - 90)], c.accent, 5)
        c.path([center, polar(center, radius * 0.45, 120)], INK, 6)
        c.text((center[0], center[1] + radius + 28), label, 22, SOFT)

    clock((126, 128), 84, 8, "in orbit")
    clock((334, 210), 84, 0, "on the ground")
    c.text((230, 366), "+38 microseconds a day", 27)


def city(c: Canvas) -> None:
    """A signal that bounces between buildings."""
    _satellite(c, (96, 56))
    c.box((40, 180), (110, 196), fill=INK, radius=4)
    c.box((306, 120), (120, 256), fill=INK, radius=4)
    for left, top, columns, rows in ((56, 200, 3, 5), (322, 140, 3, 7)):
        for row in range(rows):
            for column in range(columns):
                c.box((left + column * 30, top + row * 32), (16, 18), fill=c.mid if (row + column) % 3 else c.tint)
    c.dashes([(118 + step * 5.5, 76 + step * 4.6) for step in range(35)], c.accent, 4)
    c.arrow((306, 236), (238, 336), c.accent, 4, 16)
    c.circle((228, 352), 12, fill=c.accent)
    c.path([(20, 378), (440, 378)], INK, 4)
    c.path(arc_points((228, 352), 22, 0, 360), c.mid, 3)
    c.text((230, 402), "echo = longer path", 20, SOFT)


FIGURES = {"phone": phone, "orbits": orbits, "delay": delay, "spheres": spheres, "einstein": einstein, "city": city}
