"""Flags, TOML files, checks and the docs' table, all made from one struct."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from edge_runtime.errors import DataError
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings, read_toml, settings_table


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field of every kind."""

    source: Annotated[Path, Meta(description="where from", extra={"positional": True, "metavar": "DIR"})]
    epochs: Annotated[int, Meta(description="passes", ge=1, le=100)] = 12
    rate: Annotated[float, Meta(description="speed", gt=0)] | None = None
    loss: Annotated[Literal["focal", "plain"], Meta(description="what is minimised")] = "plain"
    views: Annotated[Literal[1, 4, 8], Meta(description="views")] = 1
    average: Annotated[Literal[1, 4, 8], Meta(description="over views", extra={"flag": "--tta", "const": 8})] = 1
    hosts: Annotated[tuple[str, ...], Meta(description="who may call", extra={"repeat": True, "flag": "--host"})] = ()
    sizes: Annotated[tuple[int, ...], Meta(description="sizes")] = (1, 2)
    quick: Annotated[bool, Meta(description="hurry")] = False
    logs: Annotated[bool, Meta(description="write logs")] = True


def parse(*arguments: str) -> Settings:
    parser = OneLineParser("prog")
    add_flags(parser, Settings)
    return make_settings(Settings, given_flags(Settings, parser.parse_args(arguments)))


def test_every_kind_of_flag_is_read() -> None:
    found = parse(
        "data", "--epochs", "3", "--rate", "0.5", "--loss", "focal", "--views", "4", "--host", "a", "--host", "b",
        "--sizes", "5", "6", "--quick", "--no-logs",
    )  # fmt: skip
    assert found == Settings(
        source=Path("data"), epochs=3, rate=0.5, loss="focal", views=4, hosts=("a", "b"), sizes=(5, 6), quick=True,
        logs=False,
    )  # fmt: skip
    assert parse("data") == Settings(source=Path("data")), "defaults"
    assert parse("data", "--tta").average == 8, "a flag without a value"
    assert parse("data", "--tta", "4").average == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data", "--epochs", "0"], "argument --epochs: expected a whole number from 1 to 100, found 0"),
        (["data", "--epochs", "x"], "argument --epochs: expected a whole number from 1 to 100, found x"),
        (["data", "--rate", "nope"], "argument --rate: expected a number above 0, found nope"),
        (["data", "--loss", "x"], "argument --loss: invalid choice: 'x' (choose from focal, plain)"),
        (["data", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        ([], "the following arguments are required: DIR"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*arguments)
    assert stopped.value.code == 2
    found = capsys.readouterr().err.replace("'focal', 'plain'", "focal, plain")
    assert found == f"error: {message} (see prog --help)\n"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": "x", "epochs": 0}, "s.toml: --epochs: expected a whole number from 1 to 100, found 0"),
        ({"source": "x", "epochs": "3"}, "s.toml: --epochs: expected a whole number from 1 to 100, found '3'"),
        ({"source": "x", "loss": "x"}, "s.toml: --loss: expected one of focal, plain, found 'x'"),
        ({"source": "x", "unknown": 1}, "s.toml: unknown key 'unknown'"),
        ({}, "s.toml: DIR: expected a path, found nothing"),
    ],
)
def test_wrong_values_of_a_file_name_the_setting(values: dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as raised:
        make_settings(Settings, values, "s.toml")
    assert str(raised.value) == message


def test_toml_keys_may_be_in_kebab_case(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('source = "d"\nepochs = 4\nrate = 1\nsizes = [3]\n')
    assert make_settings(Settings, read_toml(path)) == Settings(source=Path("d"), epochs=4, rate=1.0, sizes=(3,))
    path.write_text("image-size = 4\n")
    assert read_toml(path) == {"image_size": 4}
    path.write_text("epochs = \n")
    with pytest.raises(DataError, match=r"s\.toml: expected TOML: "):
        read_toml(path)
    with pytest.raises(DataError, match=r"none\.toml: cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")


def test_the_table_has_a_row_for_every_setting() -> None:
    table = settings_table(Settings)
    assert table.splitlines()[2:5] == [
        "| `DIR` | required | where from |",
        "| `--epochs` | `12` | passes (a whole number from 1 to 100) |",
        "| `--rate` | none | speed (a number above 0) |",
    ]
    assert len(table.splitlines()) == 2 + 10
