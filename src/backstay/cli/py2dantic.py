"""``backstay py2dantic``: pydantic models from samples of JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen

__all__ = ["add_to", "write_models"]


def add_to(program: typer.Typer) -> None:
    """Add the command to the program."""
    program.command("py2dantic")(write_models)


def write_models(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Samples in JSON or NDJSON; - is standard input. All fit the models.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="CLASS",
            help="The outermost model.",
            show_default="the first file's name, or RootModel",
        ),
    ] = None,
    base: Annotated[
        str, typer.Option(metavar="CLASS", help="What models are made from, with its module.")
    ] = "pydantic.BaseModel",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PY",
            help="The file to write.",
            show_default="standard output",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file if it is there.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit code 1 if the file is not what would be written."
        ),
    ] = False,
    enums: Annotated[
        list[str] | None,
        typer.Option(
            "--enum", metavar="FIELD", help="Its texts are an enumeration; may be repeated."
        ),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="FIELD", help="Its keys are data, so it is a dict; may be repeated."
        ),
    ] = None,
    find_maps: Annotated[
        bool,
        typer.Option(
            "--find-maps/--no-find-maps",
            help="Take objects whose keys are all numbers, days or ids for maps.",
        ),
    ] = True,
    as_list: Annotated[
        bool,
        typer.Option(
            "--as-list",
            help="An array is one sample and gets a model; otherwise each object in it is one.",
        ),
    ] = False,
    snake_case: Annotated[
        bool, typer.Option("--snake-case", help="createdAt becomes created_at, with an alias.")
    ] = False,
    depth: Annotated[
        int, typer.Option(min=1, help="Levels that get types; what is deeper is Any.")
    ] = 20,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of what fails.")
    ] = False,
) -> None:
    """Write the pydantic models that samples of JSON fit.

    Several files are several samples, and so are the objects of an array.

    What samples differ in becomes optional, or a union.
    """
    from backstay.integration import py2dantic

    screen = Screen(verbose=verbose)
    if output is None and (check or force):
        raise Refusal("--check and --force are about a file", hint="name it with --output")
    if files.count("-") > 1:
        raise Refusal("standard input can be read once only")
    with screen.waiting("writing models"):
        source = py2dantic(
            *(_sample(each) for each in files),
            name=_class_of(files[0]) if name is None else name,
            base=base,
            enums=enums or (),
            maps=maps or (),
            find_maps=find_maps,
            as_list=as_list,
            snake_case=snake_case,
            depth=depth,
        )
    if output is None:
        sys.stdout.write(source)
        return
    if _text_of(output) == source:
        screen.say(f"{output} is up to date", "dim")
        return
    if check:
        screen.say(f"{output} is not what would be written", "bold red")
        raise typer.Exit(FAILED)
    if output.exists() and not force:
        raise Refusal(f"{output} is there already", hint="--force overwrites it")
    try:
        output.write_text(source, encoding="utf-8", newline="\n")
    except OSError as error:
        raise Refusal(f"{output} cannot be written: {error.strerror or error}") from None
    screen.say(f"wrote {output}", "dim")


def _sample(file: str) -> object:
    from backstay.integration.sample_models.samples import LIMIT_BYTES

    if file == "-":
        return sys.stdin.buffer.read(LIMIT_BYTES + 1)
    path = Path(file)
    if not path.exists():
        raise Refusal(f"there is no file {file}")
    return path


def _class_of(file: str) -> str:
    """A class's name for a file's: ``RootModel`` if that makes none."""
    from backstay.integration.sample_models.names import class_name, words_of
    from backstay.integration.sample_models.plan import RESERVED

    words = [] if file == "-" else words_of(Path(file).stem)
    named = class_name(words)
    return named if words and named not in RESERVED else "RootModel"


def _text_of(file: Path) -> str | None:
    """What is in a file; ``None`` if nothing that could be compared is."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
