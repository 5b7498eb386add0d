"""The project's texts use the field's words; the synonyms that it once used must not come back.

Whole words are looked for in code, comments, messages, templates, scripts and documentation. A use that is right (an
anatomical site called trunk, the API's field ``picture``) is allowed by a pattern that describes it, beside its word.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import REPOSITORY

SUFFIXES = {
    ".css", ".html", ".j2", ".js", ".log", ".md", ".mjs", ".py", ".service", ".sh", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip
NAMED = {"Makefile", "Dockerfile", "en.json"}
NOT_READ = ("LICENSE", "CHANGELOG.md", "tests/test_words.py")
"""The changelog names what was renamed."""


class Word(NamedTuple):
    """A word to use, what must not stand in its place, and where that is right all the same."""

    say: str
    instead_of: str
    allowed: str = r"(?!)"


WORDS = [
    Word(
        "image",
        r"(?<![a-z])pictures?(?![a-z])",
        r"[\"'`.?& (]picture[\"'`=:?,\])]|\.picture\b|</?picture>|in-picture",
    ),
    Word("backbone", r"(?<![a-z])trunks?(?![a-z])", r"[\"'|>] ?trunk ?[\"'|<]|\btrunk, |on the trunk"),
    Word("learned, trained", r"\blearnt\b"),
    Word("trained from scratch", r"\bfrom nothing\b"),
    Word("evaluate, assess", r"\bjudg(e[sd]?|ing)\b"),
    Word("test set, selection set", r"(?<![a-z])h[eo]ld[-_ ]?outs?(?![a-z])"),
    Word("training set, validation set, test set, subset", r"\b(training|validation|test) parts?\b"),
    Word("checksum", r"(?<![a-z])(un)?seal(s|ed|ing)?(?![a-z])"),
    Word("log output, telemetry", r"\bchatter\b"),
    Word("optimistically biased", r"\bflatter(s|ing|ed)?\b"),
    Word("package", r"\b(rooms?|houses?)\b", r"\b(no|needs|finds no) room\b|\broom for\b"),
    Word(
        "CPU",
        r"(?<![a-z])processors?(?![a-z])",
        r"platform\.processor|[Ii]mage processor|(post-?|context_)processor|processor\\t",
    ),
    Word("dermoscopic", r"\bdermatoscopic\b", r"multi-source dermatoscopic images"),
    Word(
        "prediction",
        r"\b(the|an|its|their|same|int8|calibrated|network's|model's|teachers?'?s?) answers?\b|\banswered\b",
    ),
    Word("rotated, flipped", r"\bmirrored\b|\bturned (and|or) \w+|\bquarter turns?\b|(?<![a-z])turned\("),
    Word("in-distribution", r"\bat home\b"),
    Word("mean and standard deviation", r"\bmean and deviation\b|± deviation"),
    Word("resume, continue", r"\b(go|goes|going|gone|went) on (with|from)\b"),
    Word("metrics, results", r"\bfigures\b", r"\bplt\b|matplotlib|plots?\b|savefig|[.\"]figures\b"),
    Word("polling interval", r"\bbetween two looks\b"),
    Word(
        "graph inputs and outputs",
        r"\b(graphs?'?s?|bundle's|the) borders?('s own layout|: names)|\b(graphs?'?s?|bundle's) borders?\b",
    ),
    Word(
        "precision",
        r"\barithmetic\b",
        r"(?i:integer[- ]arithmetic)|floating-point arithmetic|arithmetic (mean|cod(e|ing)|and prefix codes)",
    ),
    Word("per batch, per call", r"\b(images?|one) a (batch|call)\b"),
    Word("compared with", r"\b(hold|holds|held) (\w+ ){0,6}against\b"),
]


def texts() -> list[Path]:
    """Return the tracked files that people read, without licences and this list."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    return [
        REPOSITORY / name
        for name in listed
        if (Path(name).suffix in SUFFIXES or Path(name).name in NAMED)
        and not name.endswith(NOT_READ)
        and (REPOSITORY / name).is_file()
    ]


def find(word: Word, text: str) -> list[tuple[int, str]]:
    """Return line number and match of every use that is not allowed."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.search(word.instead_of, re.sub(word.allowed, " ", line), flags=re.IGNORECASE)
        if match:
            found.append((number, match.group()))
    return found


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.say)
def test_word_does_not_come_back(word: Word) -> None:
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {match!r}; say {word.say}"
        for path in texts()
        for number, match in find(word, path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_words_are_found() -> None:
    """The patterns match what they are meant for, in identifiers too, and spare what is allowed."""
    by_name = {word.say: word for word in WORDS}
    for say, text in {
        "image": "picture_bytes",
        "backbone": "trunks",
        "CPU": "processor_name",
        "checksum": "unsealed",
    }.items():
        assert find(by_name[say], text), text
    for say, text in {"image": 'form["picture"]', "backbone": '"trunk"', "checksum": "sealant"}.items():
        assert not find(by_name[say], text), text
    assert len(texts()) > 300
