"""What all report pages share: the base template with its style, number formats, and images that travel inside a page.

A page is one HTML file that loads nothing else. Templates extend ``base.html.j2`` and fill its blocks ``title``,
``style``, ``heading`` and ``content``; ``demo``, where it is given, says what of a demo was generated.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import jinja2
from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"


def page_environment(*folders: Path) -> jinja2.Environment:
    """Return the environment that renders templates of ``folders`` and of this package."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"number": format_number, "percent": format_percent}
    return environment


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` decimals, or a dash where it is undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def format_percent(value: float | None) -> str:
    """Return a fraction as a percentage, or a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.1f} %"


def data_url(data: bytes, media_type: str) -> str:
    """Return a ``data:`` URL that carries the bytes."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def encode_jpeg(image: Image.Image) -> bytes:
    """Return the image as the bytes of a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
