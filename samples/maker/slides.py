"""Lays out one slide: title, bullets, figure, and a line that shows how far the talk is."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from maker import figures
from maker.talk import Talk

WIDTH, HEIGHT = 1280, 720
INK = "#20242b"
SOFT = "#6b7280"
PAPER = "#faf8f4"
RULE = "#e3ded4"

# Drawn at twice the size and scaled down: Pillow draws shapes without smoothing.
_SCALE = 2
_MARGIN = 84
_BAR = (HEIGHT - 10, HEIGHT)


def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's bundled typeface, so that every machine draws the same slide."""
    return _font(size * _SCALE)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    loaded = ImageFont.load_default(size)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType: install a wheel from PyPI")
    return loaded


def draw_slide(talk: Talk, index: int) -> Image.Image:
    """Draws slide `index` of `talk` (1280 x 720, RGB), without the progress line."""
    section = talk.sections[index]
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), PAPER)
    draw = ImageDraw.Draw(image)

    def at(x: float, y: float) -> tuple[float, float]:
        return x * _SCALE, y * _SCALE

    draw.rectangle([*at(0, 0), *at(14, HEIGHT)], fill=talk.accent)
    eyebrow = (
        f"{index + 1}  /  {len(talk.sections)}"
        if index == 0
        else f"{index + 1}  /  {len(talk.sections)}     {talk.title}"
    )
    draw.text(at(_MARGIN, 70), eyebrow, font=font(22), fill=SOFT)
    size = 72 if index == 0 else 60
    while draw.textlength(section.title, font(size)) > 1080 * _SCALE:
        size -= 2
    # The bundled face has one weight; a stroke in the same ink makes the heading's.
    draw.text(at(_MARGIN, 116), section.title, font=font(size), fill=INK, stroke_width=2, stroke_fill=INK)
    draw.rectangle([*at(_MARGIN + 2, 222), *at(_MARGIN + 98, 228)], fill=talk.accent)
    y = 318.0
    for bullet in section.bullets:
        draw.ellipse([*at(_MARGIN + 2, y + 13), *at(_MARGIN + 16, y + 27)], fill=talk.accent)
        size = 35
        while draw.textlength(bullet, font(size)) > 500 * _SCALE:
            size -= 1
        draw.text(at(_MARGIN + 42, y), bullet, font=font(size), fill=INK)
        y += 86
    panel = Image.new("RGB", (460 * _SCALE, 420 * _SCALE), "#ffffff")
    figures.draw(section.figure, figures.Canvas(panel, _SCALE, talk.accent, font))
    box = (*at(736, 218), *at(736 + 460, 218 + 420))
    draw.rounded_rectangle([box[0] - 4, box[1] - 4, box[2] + 4, box[3] + 4], radius=24 * _SCALE, fill=RULE)
    mask = Image.new("L", panel.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle([0, 0, panel.width - 1, panel.height - 1], radius=22 * _SCALE, fill=255)
    image.paste(panel, (int(box[0]), int(box[1])), mask)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def with_progress(slide: Image.Image, fraction: float, accent: str) -> Image.Image:
    """The slide with the progress line filled to `fraction` (0 to 1)."""
    image = slide.copy()
    draw = ImageDraw.Draw(image)
    draw.rectangle([14, _BAR[0], WIDTH, _BAR[1]], fill=RULE)
    draw.rectangle([14, _BAR[0], 14 + round((WIDTH - 14) * fraction), _BAR[1]], fill=accent)
    return image
