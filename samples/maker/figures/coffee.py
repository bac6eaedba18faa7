"""Figures of the talk on coffee."""

from __future__ import annotations

import math
import random

from maker.figures.canvas import INK, PALE, SOFT, Canvas, Point


def cup(c: Canvas) -> None:
    """A cup with steam."""
    for x in (180, 226, 272):
        c.path([(x + 12 * math.sin(step / 6), 160 - step * 2.6) for step in range(46)], SOFT, 5)
    c.circle((320, 248), 50, line=INK, width=14)
    c.shape([(128, 196), (326, 196), (306, 322), (280, 344), (174, 344), (148, 322)], fill="#ffffff", line=INK, width=5)
    c.oval((227, 196), 99, 20, 0, fill=c.accent, line=INK, width=5)
    c.box((104, 352), (246, 12), fill=INK, radius=6)


def _bean(c: Canvas, center: Point, size: float, turn: float) -> None:
    c.oval(center, 46 * size, 32 * size, turn, fill=c.accent)
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    curve = []
    for step in range(-20, 21):
        x, y = step * 2.1 * size, 7 * size * math.sin(step / 6.4)
        curve.append((center[0] + x * cosine - y * sine, center[1] + x * sine + y * cosine))
    c.path(curve, "#ffffff", 4 * size)


def beans(c: Canvas) -> None:
    """Beans, and how long they are at their best."""
    for center, turn in (((140, 110), 30), ((236, 84), -20), ((322, 128), 55), ((188, 190), -50), ((282, 206), 10)):
        _bean(c, center, 1.0, turn)
    c.box((60, 296), (340, 24), fill=PALE, radius=12)
    c.box((60, 296), (196, 24), fill=c.accent, radius=12)
    c.text((78, 350), "roasted", 20, SOFT)
    c.text((256, 350), "4 weeks", 24)
    c.text((378, 350), "stale", 20, SOFT)


def grind(c: Canvas) -> None:
    """Even grains from burrs, uneven ones from blades."""
    chance = random.Random(4)
    c.text((124, 70), "burrs", 28)
    c.text((336, 70), "blades", 28)
    c.path([(230, 60), (230, 360)], PALE, 3)
    for row in range(6):
        for column in range(5):
            c.circle((60 + column * 32, 130 + row * 36), 11, fill=c.accent)
    placed: list[tuple[float, float, float]] = []
    while len(placed) < 34:
        x, y, radius = chance.uniform(268, 412), chance.uniform(124, 318), chance.choice([4, 5, 6, 9, 14, 24])
        if all(math.hypot(x - px, y - py) > radius + pr + 3 for px, py, pr in placed):
            placed.append((x, y, radius))
            c.circle((x, y), radius, fill=c.accent)
    c.text((124, 372), "balanced", 22, SOFT)
    c.text((336, 372), "bitter and sour", 22, SOFT)


def scale(c: Canvas) -> None:
    """A kitchen scale with the recipe."""
    c.shape([(176, 112), (284, 112), (262, 206), (198, 206)], fill=c.accent)
    c.text((230, 156), "60 g", 30, "#ffffff")
    c.box((92, 214), (276, 18), fill=INK, radius=9)
    c.box((122, 232), (216, 84), fill=PALE, line=INK, radius=16, width=4)
    c.box((168, 252), (124, 46), fill="#ffffff", radius=8)
    c.text((230, 276), "60.0", 30)
    c.text((230, 364), "to 1 liter of water", 26)


def kettle(c: Canvas) -> None:
    """A thermometer with the right band."""
    c.box((88, 52), (44, 250), fill="#ffffff", line=INK, radius=22, width=4)
    c.circle((110, 318), 42, fill=c.accent, line=INK, width=4)
    c.box((98, 104), (24, 200), fill=c.accent, radius=8)
    for number, label in enumerate(["100", "96", "92", "88"]):
        y = 76 + number * 44
        c.path([(138, y), (162, y)], INK, 3)
        c.text((192, y), label, 22, INK if label in ("96", "92") else SOFT)
    c.box((226, 108), (176, 68), fill=c.tint, radius=12)
    c.text((314, 142), "brew here", 26)
    c.text((306, 290), "bloom", 26)
    c.text((306, 322), "40 seconds", 22, SOFT)
    for x, y, radius in ((262, 236, 10), (292, 222, 14), (326, 238, 9), (350, 218, 12)):
        c.circle((x, y), radius, line=c.mid, width=3)


def taste(c: Canvas) -> None:
    """From sour to bitter, with the sweet spot between."""
    c.box((40, 186), (380, 40), fill=PALE, radius=20)
    c.box((170, 186), (120, 40), fill=c.accent, radius=20)
    c.text((230, 206), "sweet spot", 22, "#ffffff")
    c.text((92, 156), "sour", 28)
    c.text((368, 156), "bitter", 28)
    c.arrow((58, 262), (206, 262), INK, 4, 16)
    c.arrow((402, 262), (254, 262), INK, 4, 16)
    c.text((128, 294), "grind finer", 22, SOFT)
    c.text((332, 294), "grind coarser", 22, SOFT)
    c.text((230, 90), "what you taste", 22, SOFT)


FIGURES = {"cup": cup, "beans": beans, "grind": grind, "scale": scale, "kettle": kettle, "taste": taste}
