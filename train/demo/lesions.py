"""One lesion of each class as a dermatoscopist describes it, reduced to four optical maps.

The maps say how much melanin and blood absorb, and how much white (keratin, scar) and blue-grey (deep pigment under a
veil) lies over the skin. Colour appears only when a view shines light on them, so all images of one lesion agree.

Structures after Kittler et al., Standardization of terminology in dermoscopy, J Am Acad Dermatol 74:1093 (2016). These
are drawings for testing software. They carry no medical information whatsoever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from train.demo.fields import (
    SIDE,
    branching_vessels,
    dots,
    fade,
    outline,
    pigment_net,
    rosettes,
    smooth_noise,
    spot,
)

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Field = NDArray[np.floating[Any]]

MAP_SCALE = 85.0
"""Map value 1.0 in a byte; the largest value that fits is 3."""

AMBIGUOUS_SHARE = 0.08
"""Lesions that hardly show their class: the ceiling on what any model can reach."""


@dataclass(frozen=True)
class OpticalMaps:
    """Four float32 (SIDE, SIDE) maps, 0..3: absorption by melanin and blood, cover by white and by blue-grey."""

    melanin: Field
    blood: Field
    white: Field
    blue: Field

    def to_bytes_hwc(self) -> NDArray[np.uint8]:
        """Return the maps as uint8 (SIDE, SIDE, 4) in units of 1/``MAP_SCALE``."""
        stacked = np.stack([self.melanin, self.blood, self.white, self.blue], axis=-1)
        return np.clip(np.rint(stacked * MAP_SCALE), 0, 255).astype(np.uint8)


def draw_lesion(code: str, generator: Generator) -> OpticalMaps:
    """Draw a lesion of the class ``code``; how typical it looks varies on purpose."""
    strength = float(generator.beta(4.0, 1.3))
    if generator.random() < AMBIGUOUS_SHARE:
        strength *= 0.2
    return _DRAWINGS[code](generator, strength)


def _nevus(generator: Generator, strength: float) -> OpticalMaps:
    """Round, symmetric, one or two browns, regular net that thins out towards the border."""
    shape = outline(generator, 0.62, generator.uniform(0.02, 0.12), generator.uniform(0.15, 0.5), 0.05)
    tone = generator.uniform(0.45, 1.5)
    net = pigment_net(generator, generator.uniform(0.055, 0.09), 0.05 + 0.05 * (1 - strength))
    patchy = fade(smooth_noise(generator, 6), -0.7, 0.5)
    melanin = tone * shape.inside * (0.75 + 0.2 * smooth_noise(generator, 5))
    melanin = melanin * (
        1 + strength * generator.uniform(0.2, 0.7) * patchy * (net - 0.5) * fade(shape.depth, 0.9, 0.2)
    )
    if generator.random() < 0.5:
        melanin = melanin + generator.uniform(0.2, 0.7) * fade(shape.depth, 0.2, 0.9)
    if generator.random() < 0.3:
        melanin = melanin + 0.5 * tone * dots(generator, shape.inside, (25, 55), 0.012, 0.025) * shape.inside
    blood = generator.uniform(0.1, 0.6) * shape.inside
    return _maps(melanin, blood)


def _melanoma(generator: Generator, strength: float) -> OpticalMaps:
    """Asymmetric, many browns and black, broken net, dots at the edge, blue-white veil off the centre."""
    irregularity = 0.08 + strength * generator.uniform(0.05, 0.3)
    shape = outline(generator, 0.66, irregularity, generator.uniform(0.1, 0.35), 0.08)
    mottling = smooth_noise(generator, 5) + 0.5 * smooth_noise(generator, 11)
    net = pigment_net(generator, generator.uniform(0.07, 0.13), 0.06 + 0.1 * strength)
    melanin = generator.uniform(0.8, 1.6) * shape.inside * (0.85 + (0.25 + 0.45 * strength) * mottling)
    melanin = melanin * (1 + 0.5 * (net - 0.5) * fade(mottling, -0.2, 0.6))
    melanin = melanin + strength * generator.uniform(0.6, 1.4) * spot(generator, 0.4, 0.28) * shape.inside
    rim = shape.inside * fade(shape.depth, 0.4, 0.1)
    melanin = melanin + strength * dots(generator, rim, (10, 40), 0.01, 0.03) * shape.inside
    veil = blue = np.zeros_like(melanin)
    if generator.random() < 0.25 + 0.6 * strength:
        veil = spot(generator, 0.35, generator.uniform(0.2, 0.4)) * shape.inside
        blue = strength * generator.uniform(0.5, 0.9) * veil
    white = 0.25 * strength * veil * fade(smooth_noise(generator, 9), 0.0, 0.7)
    return _maps(melanin, generator.uniform(0.1, 0.5) * shape.inside, white, blue)


def _keratosis(generator: Generator, strength: float) -> OpticalMaps:
    """Stuck on: sharp moth-eaten border, dull brown, dark comedo-like openings and pale milia-like cysts."""
    shape = outline(generator, 0.64, generator.uniform(0.04, 0.14), 0.1 + 0.25 * (1 - strength), 0.06)
    furrows = fade(abs(smooth_noise(generator, 16)), 0.12, 0.0)
    melanin = generator.uniform(0.4, 1.2) * shape.inside * (0.8 + 0.25 * smooth_noise(generator, 8))
    melanin = melanin + strength * generator.uniform(0.0, 0.6) * furrows * shape.inside
    inner = shape.inside * fade(shape.depth, 0.05, 0.25)
    melanin = melanin + 1.0 * strength * dots(generator, inner, (8, 30), 0.02, 0.045)
    cysts = dots(generator, inner, (6, 26), 0.018, 0.04)
    white = strength * (0.55 * cysts + 0.18 * shape.inside * fade(smooth_noise(generator, 20), 0.1, 0.8))
    return _maps(melanin, generator.uniform(0.05, 0.45) * shape.inside, white)


def _basal_cell(generator: Generator, strength: float) -> OpticalMaps:
    """Pink and translucent, sharp tree-like vessels, blue-grey nests, sometimes an ulcer."""
    shape = outline(generator, 0.62, generator.uniform(0.05, 0.13), generator.uniform(0.3, 0.7), 0.05)
    blood = generator.uniform(0.2, 0.6) * shape.inside * (0.85 + 0.25 * smooth_noise(generator, 6))
    vessels = branching_vessels(generator, (3, 7), 0.62)
    blood = blood + strength * generator.uniform(0.9, 1.7) * vessels * fade(shape.inside, 0.0, 0.5)
    nests = dots(generator, shape.inside, (0, 9), 0.04, 0.11)
    if generator.random() < 0.3:
        blood = blood + 1.1 * spot(generator, 0.25, 0.16) * shape.inside
    melanin = generator.uniform(0.0, 0.45) * shape.inside + 0.35 * nests
    white = 0.25 * strength * shape.inside * fade(smooth_noise(generator, 7), 0.2, 0.9)
    return _maps(melanin, blood, white, strength * 0.6 * nests)


def _actinic(generator: Generator, strength: float) -> OpticalMaps:
    """Ill-defined red patch ("strawberry"): red net around pale follicles, rosettes, and white-yellow scale."""
    shape = outline(generator, 0.68, generator.uniform(0.06, 0.16), generator.uniform(0.5, 1.0), 0.1)
    red_net = pigment_net(generator, generator.uniform(0.09, 0.15), 0.1)
    blood = generator.uniform(0.5, 1.1) * shape.inside * (0.8 + 0.3 * smooth_noise(generator, 7))
    blood = blood * (1 + strength * 0.7 * (red_net - 0.5))
    scale = fade(smooth_noise(generator, 13) + 0.6 * smooth_noise(generator, 30), 0.25, 0.75)
    stars = rosettes(generator, shape.inside, (6, 22), 0.05)
    white = strength * shape.inside * (generator.uniform(0.25, 0.75) * scale + 0.8 * stars)
    melanin = generator.uniform(0.0, 0.7) * shape.inside * (0.6 + 0.4 * smooth_noise(generator, 9))
    return _maps(melanin, blood, white)


def _vascular(generator: Generator, strength: float) -> OpticalMaps:
    """Red to purple lacunae, sharply bounded and crowded, without any net; sometimes a dark clot."""
    shape = outline(generator, 0.5, generator.uniform(0.04, 0.12), 0.12 + 0.5 * (1 - strength), 0.03)
    lacunae = dots(generator, shape.inside, (10, 34), 0.06, 0.15) * fade(shape.inside, 0.0, 0.4)
    tone = generator.uniform(0.9, 1.7)
    blood = tone * ((0.8 - 0.3 * strength) * shape.inside + strength * generator.uniform(0.5, 1.0) * lacunae)
    melanin = generator.uniform(0.0, 0.4) * shape.inside
    if generator.random() < 0.35:
        melanin = melanin + 1.2 * strength * spot(generator, 0.2, 0.16) * shape.inside
    septa = shape.inside * (1 - lacunae)
    blue = generator.uniform(0.15, 0.55) * strength * lacunae
    return _maps(melanin, blood, 0.22 * strength * septa, blue)


def _dermatofibroma(generator: Generator, strength: float) -> OpticalMaps:
    """White scar-like patch in the middle, delicate net and pale brown around it, fading into the skin."""
    shape = outline(generator, 0.58, generator.uniform(0.03, 0.10), generator.uniform(0.5, 0.9), 0.04)
    net = pigment_net(generator, generator.uniform(0.05, 0.08), 0.06)
    centre = fade(shape.depth, 0.3, 0.75) * (0.8 + 0.3 * smooth_noise(generator, 12))
    ring = shape.inside * (1 - strength * 0.8 * centre)
    melanin = generator.uniform(0.5, 1.1) * ring * (0.8 + strength * 0.5 * (net - 0.5))
    blood = generator.uniform(0.05, 0.4) * shape.inside * (0.8 + 0.3 * smooth_noise(generator, 5))
    white = strength * generator.uniform(0.6, 0.95) * centre * shape.inside
    return _maps(melanin, blood, white)


def _maps(melanin: Field, blood: Field, white: Field | None = None, blue: Field | None = None) -> OpticalMaps:
    nothing = np.zeros((SIDE, SIDE), dtype=np.float32)
    return OpticalMaps(melanin, blood, nothing if white is None else white, nothing if blue is None else blue)


_DRAWINGS = {
    "akiec": _actinic,
    "bcc": _basal_cell,
    "bkl": _keratosis,
    "df": _dermatofibroma,
    "mel": _melanoma,
    "nv": _nevus,
    "vasc": _vascular,
}
