"""How strong each augmentation is: the presets that ``--augmentation`` names."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import DataError


@dataclass(frozen=True)
class Augmentation:
    """Strengths (0: off). Angles in degrees; lengths and shifts as fractions of the side; ``*_share`` of the images.

    ``zoom`` z draws a magnification of exp(uniform(-z, z)); the other factors likewise.
    """

    flip: bool = False
    rotation: float = 0.0
    zoom: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    gamma: float = 0.0
    temperature: float = 0.0
    hue: float = 0.0
    illumination: float = 0.0
    sharpness_share: float = 0.0
    noise_share: float = 0.0
    jpeg_share: float = 0.0
    hair_share: float = 0.0
    cutout_share: float = 0.0

    @property
    def is_geometric(self) -> bool:
        """Whether images are moved at all."""
        return self.flip or any((self.rotation, self.zoom, self.stretch, self.shift))

    @property
    def is_chromatic(self) -> bool:
        """Whether colours are changed at all."""
        return any((self.brightness, self.contrast, self.saturation, self.gamma, self.temperature, self.hue))


PRESETS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "seed": Augmentation(flip=True, rotation=180.0),
    "strong": Augmentation(
        flip=True,
        rotation=180.0,
        zoom=0.25,
        stretch=0.1,
        shift=0.08,
        brightness=0.2,
        contrast=0.2,
        saturation=0.25,
        gamma=0.2,
        temperature=0.12,
        hue=8.0,
        illumination=0.2,
        sharpness_share=0.25,
        noise_share=0.1,
        jpeg_share=0.1,
        hair_share=0.1,
        cutout_share=0.2,
    ),
    "extreme": Augmentation(
        flip=True,
        rotation=180.0,
        zoom=0.4,
        stretch=0.15,
        shift=0.12,
        brightness=0.35,
        contrast=0.35,
        saturation=0.4,
        gamma=0.35,
        temperature=0.25,
        hue=15.0,
        illumination=0.35,
        sharpness_share=0.4,
        noise_share=0.2,
        jpeg_share=0.2,
        hair_share=0.2,
        cutout_share=0.3,
    ),
}


def find_preset(name: str) -> Augmentation:
    """Return the preset of that name. Raises :class:`DataError`."""
    if name not in PRESETS:
        raise DataError(f"--augmentation: expected one of {', '.join(PRESETS)}, found {name!r}")
    return PRESETS[name]
