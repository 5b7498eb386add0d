"""A griffe extension for the documentation site: :role:`name` in docstrings becomes code, as it is read anyway.

The site builder runs it in its own environment; nothing else imports it.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class DocstringRoles(griffe.Extension):
    """Rewrites reStructuredText's roles and double backticks before a docstring is rendered as Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", obj.docstring.value)
