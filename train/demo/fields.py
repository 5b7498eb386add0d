"""What phantoms are drawn from: smooth noise, outlines, nets, dots and branching vessels on a square canvas.

A canvas is ``SIDE`` pixels square and spans −1..1 in x and y. Every function returns float32 (SIDE, SIDE) in the stated
range, and draws all of its randomness from the generator it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]

SIDE = 256
_LINE = np.linspace(-1.0, 1.0, SIDE, dtype=np.float32)
X, Y = np.meshgrid(_LINE, _LINE)
"""Coordinates of the canvas's pixels, float32 (SIDE, SIDE): x to the right, y downwards."""

_RADIUS = np.hypot(X, Y)
_ANGLE = np.arctan2(Y, X)
_TURN = np.linspace(-np.pi, np.pi, 181)
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Outline:
    """A lesion's extent: ``inside`` fades to 0 over the border; ``depth`` is 1 in the centre and 0 at the border."""

    inside: Field
    depth: Field


def smooth_noise(generator: Generator, cells: int, width: int = SIDE, height: int = SIDE) -> Field:
    """Return smooth noise of shape (height, width), about −1..1, with ``cells`` lattice points along the width."""
    rows = max(2, round(cells * height / width))
    lattice = generator.uniform(-1.0, 1.0, (rows, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(lattice).resize((width, height), Image.Resampling.BICUBIC))


def fade(values: Field, low: float, high: float) -> Field:
    """Return 0 below ``low``, 1 above ``high`` and a smooth step between; ``low`` may be the larger."""
    position = np.clip((values - low) / (high - low), 0.0, 1.0)
    return (position * position * (3.0 - 2.0 * position)).astype(np.float32)


def outline(generator: Generator, radius: float, irregularity: float, border: float, roughness: float = 0.0) -> Outline:
    """Draw an extent of about ``radius``, stretched and dented.

    ``irregularity`` is the relative size of the dents, ``border`` the width over which the pigment fades, and
    ``roughness`` the fraying of the edge; all relative to the radius.
    """
    harmonics = np.arange(2, 9)
    sizes = 1.6 * irregularity * generator.normal(size=len(harmonics)) / harmonics
    phases = generator.uniform(0, 2 * np.pi, len(harmonics))
    curve = 1.0 + (sizes * np.cos(harmonics * _TURN[:, None] + phases)).sum(axis=1)
    curve = radius * np.clip(curve, 0.35, 1.0 / max(radius, 0.6))
    distance = _RADIUS / np.interp(_ANGLE, _TURN, curve).astype(np.float32)
    if roughness:
        distance = distance + roughness * (smooth_noise(generator, 10) + smooth_noise(generator, 26))
    margin = fade(np.maximum(abs(X), abs(Y)), 0.99, 0.9)
    inside = fade(distance, 1.0 + border / 2, 1.0 - border / 2) * margin
    return Outline(inside, np.clip(1.0 - distance, 0.0, 1.0))


def spot(generator: Generator, distance: float, radius: float) -> Field:
    """Return one soft, dented patch of about ``radius``, its centre up to ``distance`` from the middle; 0..1."""
    angle, away = generator.uniform(0, 2 * np.pi), distance * np.sqrt(generator.uniform(0.1, 1.0))
    squared = (X - away * np.cos(angle)) ** 2 + (Y - away * np.sin(angle)) ** 2
    dents = 1.0 + 0.5 * smooth_noise(generator, 6)
    return np.exp(-squared / (radius * radius * np.clip(dents, 0.4, 1.6)))


def pigment_net(generator: Generator, period: float, disorder: float) -> Field:
    """Return a honeycomb of dark lines, 0 (holes) to 1 (lines): three waves at 60°, bent by ``disorder``."""
    bend_x = X + disorder * smooth_noise(generator, 7)
    bend_y = Y + disorder * smooth_noise(generator, 7)
    start = generator.uniform(0, np.pi)
    waves = np.zeros_like(X)
    for direction in start + np.arange(3) * np.pi / 3:
        along = np.float32(np.cos(direction)) * bend_x + np.float32(np.sin(direction)) * bend_y
        waves += np.cos(np.float32(2 * np.pi / period) * along)
    return fade(waves, 0.6, -1.2)


def dots(generator: Generator, within: Field, counts: tuple[int, int], smallest: float, largest: float) -> Field:
    """Return discs in 0..1, centred where ``within`` is large.

    Their number is drawn from ``counts``, their radii lie between the two sizes.
    """
    side = SIDE * _OVERSAMPLING
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    for x, y in _places(generator, within, int(generator.integers(*counts))):
        radius = generator.uniform(smallest, largest) * side / 2
        stretch = generator.uniform(0.7, 1.0)
        draw.ellipse((x - radius, y - radius * stretch, x + radius, y + radius * stretch), fill=255)
    return _reduced(mask)


def rosettes(generator: Generator, within: Field, counts: tuple[int, int], size: float) -> Field:
    """Return groups of four bright points like a four-leaf clover, each ``size`` across; 0..1."""
    side = SIDE * _OVERSAMPLING
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    for x, y in _places(generator, within, int(generator.integers(*counts))):
        reach, turn = size * side / 4, generator.uniform(0, np.pi)
        for angle in turn + np.arange(4) * np.pi / 2:
            leaf_x, leaf_y = x + reach * np.cos(angle), y + reach * np.sin(angle)
            draw.ellipse((leaf_x - reach / 2, leaf_y - reach / 2, leaf_x + reach / 2, leaf_y + reach / 2), fill=255)
    return _reduced(mask)


def branching_vessels(generator: Generator, trees: tuple[int, int], reach: float) -> Field:
    """Return vessels, their number drawn from ``trees``, that wind inwards and branch into thinner ones; 0..1."""
    side = SIDE * _OVERSAMPLING
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    for _ in range(int(generator.integers(*trees))):
        angle = generator.uniform(0, 2 * np.pi)
        start = (side / 2) * (1 + reach * np.array([np.cos(angle), np.sin(angle)]))
        _branch(generator, draw, start, angle + np.pi + generator.normal() * 0.5, generator.uniform(3.0, 6.0), reach)
    return _reduced(mask)


def _branch(
    generator: Generator,
    draw: ImageDraw.ImageDraw,
    start: NDArray[np.float64],
    heading: float,
    thickness: float,
    reach: float,
) -> None:
    step = SIDE * _OVERSAMPLING / 40
    turns = generator.normal(size=round(5 + 8 * reach)) * 0.35
    headings = heading + np.cumsum(turns)
    points = start + step * np.cumsum(np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    draw.line([tuple(start), *map(tuple, points)], fill=255, width=max(1, round(thickness)), joint="curve")
    if thickness < 2.0:
        return
    for place in generator.choice(len(points), size=2, replace=False):
        side_heading = headings[place] + generator.choice([-1, 1]) * generator.uniform(0.5, 1.1)
        _branch(generator, draw, points[place], side_heading, thickness * 0.55, reach * 0.7)


def _places(generator: Generator, within: Field, count: int) -> NDArray[np.float64]:
    """Return ``count`` (x, y) places in oversampled pixels, likely where ``within`` is large."""
    weights = np.cumsum(np.clip(within[::4, ::4], 0.0, None).ravel(), dtype=np.float64)
    if weights[-1] <= 0:
        return np.empty((0, 2))
    cells = np.searchsorted(weights, generator.uniform(0, weights[-1], count))
    columns = SIDE // 4
    corners = np.stack([cells % columns, cells // columns], axis=1)
    return (corners + generator.uniform(0, 1, (count, 2))) * 4 * _OVERSAMPLING


def _reduced(mask: Image.Image) -> Field:
    return np.asarray(mask.reduce(_OVERSAMPLING), dtype=np.float32) / np.float32(255)
