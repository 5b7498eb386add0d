"""The settings of a command: one msgspec struct, from which flags, TOML reading, checks and the docs' table are made.

A field is ``Annotated[type, Meta(description="help text", ge=…, le=…)] = default``; its flag is the name in kebab case.
Types: ``int``, ``float``, ``bool``, ``str``, ``Path``, ``Literal["a", "b"]``, each also ``| None`` or, for a flag that
takes several values, in ``tuple[…, ...]``. ``Meta(extra={…})`` may hold ``metavar``, ``flag`` (another name),
``positional`` (an argument without a flag), ``repeat`` (give the flag once per value), ``const`` (the value of a flag
that is given without one) and ``expected`` (in words, what a text with a ``pattern`` takes).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from edge_runtime.errors import DataError

Struct = TypeVar("Struct", bound=msgspec.Struct)

_KINDS: dict[type, tuple[str, str]] = {
    inspect.IntType: ("a whole number", "N"),
    inspect.FloatType: ("a number", "X"),
    inspect.BoolType: ("true or false", ""),
    inspect.StrType: ("text", "TEXT"),
    inspect.CustomType: ("a path", "PATH"),
}


class OneLineParser(argparse.ArgumentParser):
    """Reports wrong usage in one line, as all errors of this project, and takes no abbreviated flags."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help or an error; argparse's own method ignores an output that is full or closed."""
        target = file or sys.stderr
        if message and target is not None:
            target.write(message)


@dataclass(frozen=True)
class Setting:
    """One field of a settings struct, as a command line, a table of the docs or a message needs it."""

    name: str
    description: str
    kind: inspect.Type
    default: Any
    required: bool
    many: bool
    extra: dict[str, Any]

    @property
    def flag(self) -> str:
        """The flag, e.g. ``--image-size``; for a positional argument its name."""
        flag: str = self.extra.get("flag") or "--" + self.name.replace("_", "-")
        return self.metavar if self.extra.get("positional") else flag

    @property
    def metavar(self) -> str:
        """What stands for the value in ``--help``."""
        metavar: str = self.extra.get("metavar") or _KINDS.get(type(self.kind), ("", "VALUE"))[1]
        return metavar

    @property
    def choices(self) -> tuple[Any, ...]:
        """The allowed values, where they can be listed."""
        return tuple(self.kind.values) if isinstance(self.kind, inspect.LiteralType) else ()

    @property
    def expected(self) -> str:
        """What the setting takes, in words: ``a whole number from 1 to 100``."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        words: str = self.extra.get("expected") or _KINDS[type(self.kind)][0]
        least, above = getattr(self.kind, "ge", None), getattr(self.kind, "gt", None)
        most, below = getattr(self.kind, "le", None), getattr(self.kind, "lt", None)
        if least is not None and most is not None:
            return f"{words} from {_number(least)} to {_number(most)}"
        limits = {"of at least": least, "above": above, "of at most": most, "below": below}
        said = [f"{preposition} {_number(limit)}" for preposition, limit in limits.items() if limit is not None]
        return " ".join([words, " and ".join(said)]).strip()

    def parse(self, text: str) -> Any:
        """Return the value that ``text`` on a command line means. Raises :class:`argparse.ArgumentTypeError`."""
        try:
            return msgspec.convert(text, self._annotation, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError):
            raise argparse.ArgumentTypeError(f"expected {self.expected}, found {text}") from None

    @property
    def _annotation(self) -> Any:
        kind = self.kind
        if isinstance(kind, inspect.CustomType):
            return kind.cls
        base = {inspect.IntType: int, inspect.FloatType: float, inspect.BoolType: bool}.get(type(kind), str)
        names = ("ge", "gt", "le", "lt", "pattern")
        bounds = {name: getattr(kind, name) for name in names if getattr(kind, name, None) is not None}
        return Annotated[base, msgspec.Meta(**bounds)] if bounds else base


@cache
def settings_of(struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """Return the settings of ``struct`` in the order of its fields."""
    return tuple(_read_fields(struct))


def _read_fields(struct: type[msgspec.Struct]) -> Iterator[Setting]:
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        kind, description, extra = _unwrap(field.type)
        many = isinstance(kind, inspect.VarTupleType)
        if isinstance(kind, inspect.VarTupleType):
            kind, *_ = _unwrap(kind.item_type)
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        yield Setting(field.name, description, kind, default, field.required, many, extra)


def add_flags(parser: argparse._ActionsContainer, struct: type[msgspec.Struct], *, negatable: bool = False) -> None:
    """Add one flag for each field to a parser or a group of it. Flags not given are absent from the parsed namespace.

    ``negatable`` gives every yes-or-no setting a ``--no-…`` flag too, for settings that a file or preset can switch on.
    """
    for setting in settings_of(struct):
        _add_flag(parser, setting, negatable=negatable)


def given_flags(struct: type[msgspec.Struct], namespace: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the flags that were given, by field name."""
    values = {setting.name: setting for setting in settings_of(struct) if hasattr(namespace, setting.name)}
    return {
        name: tuple(getattr(namespace, name)) if setting.many else getattr(namespace, name)
        for name, setting in values.items()
    }


def parse_settings(
    parser: argparse.ArgumentParser, struct: type[Struct], arguments: Sequence[str] | None = None
) -> Struct:
    """Add the struct's flags to ``parser`` and return the settings that ``arguments`` (or the command line) give."""
    add_flags(parser, struct)
    return make_settings(struct, given_flags(struct, parser.parse_args(arguments)))


def make_settings(struct: type[Struct], values: dict[str, Any], source: str = "") -> Struct:
    """Return the struct with these values and its defaults for the rest.

    Raises :class:`DataError` naming the setting (and ``source``, the file it stands in), what it takes and what was
    found.
    """
    known = {setting.name: setting for setting in settings_of(struct)}
    origin = f"{source}: " if source else ""
    for name in values:
        if name not in known:
            raise DataError(f"{origin}unknown key {name!r}")
    try:
        return msgspec.convert(msgspec.to_builtins(values, enc_hook=str), struct, dec_hook=_decode)
    except msgspec.ValidationError as error:
        for name, setting in known.items():
            if f"$.{name}" in str(error) or f"`{name}`" in str(error):
                found = f"found {values[name]!r}" if name in values else "found nothing"
                raise DataError(f"{origin or ''}{setting.flag}: expected {setting.expected}, {found}") from None
        raise DataError(f"{origin}{error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Return the settings of a TOML file, its keys in snake case. Raises :class:`DataError`."""
    import tomllib  # most commands read no file

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected TOML: {error}") from None
    return {name.replace("-", "_"): value for name, value in values.items()}


def settings_table(struct: type[msgspec.Struct]) -> str:
    """Return a Markdown table of the settings: flag, default, meaning and range."""
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for setting in settings_of(struct):
        default = "required" if setting.required else _shown(setting.default)
        limits = "" if setting.expected in ("text", "a path", "true or false") else f" ({setting.expected})"
        meaning = f"{setting.description}{limits}".replace("|", "\\|")
        both = isinstance(setting.kind, inspect.BoolType) and setting.default is True
        flag = f"`{setting.flag}`, `--no-{setting.flag[2:]}`" if both else f"`{setting.flag}`"
        lines.append(f"| {flag} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def _add_flag(parser: argparse._ActionsContainer, setting: Setting, *, negatable: bool) -> None:
    unsaid = setting.required or setting.default is False or setting.default in (None, ())  # zero is said
    shown = "" if unsaid else f" (default: {_plain(setting.default)})"
    options: dict[str, Any] = {"help": (setting.description + shown).replace("%", "%%"), "default": argparse.SUPPRESS}
    if isinstance(setting.kind, inspect.BoolType):
        both = negatable or setting.default is True
        parser.add_argument(
            setting.flag, dest=setting.name, action=argparse.BooleanOptionalAction if both else "store_true", **options
        )
        return
    options["type"] = setting.parse
    if setting.choices:
        options["choices"] = setting.choices
        if not all(isinstance(choice, str) for choice in setting.choices):
            options["type"] = type(setting.choices[0])
    if "metavar" in setting.extra or not setting.choices:
        options["metavar"] = setting.metavar
    if setting.many:
        options |= {"action": "append"} if setting.extra.get("repeat") else {"nargs": "+"}
    if "const" in setting.extra:
        options |= {"nargs": "?", "const": setting.extra["const"]}
    if setting.extra.get("positional"):
        if not setting.required and not setting.many:
            options["nargs"] = "?"
        parser.add_argument(setting.name, **options)
    else:
        parser.add_argument(setting.flag, dest=setting.name, required=setting.required, **options)


def _unwrap(kind: inspect.Type) -> tuple[inspect.Type, str, dict[str, Any]]:
    """Return a field's type without ``None`` and metadata, its description, and its extra."""
    description = ""
    extra: dict[str, Any] = {}
    while True:
        if isinstance(kind, inspect.Metadata):
            description = (kind.extra_json_schema or {}).get("description", description)
            extra = {**(kind.extra or {}), **extra}
            kind = kind.type
        elif isinstance(kind, inspect.UnionType):
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
        else:
            return kind, description, extra


def _number(limit: float) -> str:
    return str(int(limit)) if float(limit).is_integer() else f"{limit:g}"


def _plain(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _shown(default: Any) -> str:
    if default is None or default == ():
        return "none"
    return {True: "yes", False: "no"}[default] if isinstance(default, bool) else f"`{_plain(default)}`"


def _decode(kind: type, value: Any) -> Any:
    """Turn text into the types that TOML and command lines do not have."""
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"expected {kind.__name__}")
