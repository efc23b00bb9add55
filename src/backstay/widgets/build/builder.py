"""Building faces: Node is handed components and hands back pages, or what is wrong with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.errors import BadWidget
from backstay.widgets.build.component import Component
from backstay.widgets.build.node import Node, find_node
from backstay.widgets.build.toolchain import PROJECT, hooks_folder, install_project

__all__ = ["Builder", "Outcome", "Problem"]

_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a face was not built.

    Attributes:
        message: what is wrong.
        file: where, ``None`` if nowhere in particular; so for the next two, which count from 1.
        line: in it.
        column: in that.
        frame: the code there, drawn, with line numbers; may be empty.
    """

    message: str
    file: Path | None = None
    line: int | None = None
    column: int | None = None
    frame: str = ""

    @property
    def place(self) -> str:
        """``widgets/board/index.jsx:3:14``, relative to the working directory if it is below."""
        if self.file is None:
            return ""
        here = Path.cwd()
        name = self.file.relative_to(here) if self.file.is_relative_to(here) else self.file
        return ":".join(str(each) for each in (name, self.line, self.column) if each is not None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of building one face.

    Attributes:
        component: which.
        page: the document, ``None`` if there are problems.
        problems: why there is none.
        inputs: the files of the user's that went into it, and those beside it.
    """

    component: Component
    page: str | None
    problems: tuple[Problem, ...]
    inputs: frozenset[Path]

    @property
    def is_current(self) -> bool:
        """Whether the page that lies there is this one."""
        if self.page is None:
            return False
        try:
            return self.component.page.read_bytes() == self.page.encode()
        except OSError:
            return False

    def write(self) -> bool:
        """Put the page where servers look for it.

        Returns:
            Whether it has changed; if not, the file is left alone.

        Raises:
            BadWidget: there is no page, or it cannot be written.
        """
        if self.page is None:
            raise BadWidget(f"the face {self.component.identifier!r} was not built")
        if self.is_current:
            return False
        target = self.component.page
        try:
            target.parent.mkdir(exist_ok=True)
            draft = target.with_suffix(".html.new")
            draft.write_bytes(self.page.encode())
            draft.replace(target)  # a server never reads half of it
        except OSError as error:
            raise BadWidget(f"{target} cannot be written: {error}") from None
        return True


class Builder:
    """Builds faces. The same sources give the same bytes, on every machine.

    Args:
        node: which builds, ``None`` to look for it when it is needed.
        toolchain: the folder with the packages, ``None`` to install them when they are needed.
    """

    def __init__(self, node: Node | None = None, toolchain: Path | None = None) -> None:
        self._node = node
        self._toolchain = toolchain

    def prepare(self) -> None:
        """Find Node and install what builds, unless that has been done.

        Raises:
            BadWidget: there is no Node, or npm fails.
        """
        if self._node is None:
            self._node = find_node()
        if self._toolchain is None:
            self._toolchain = install_project(self._node)

    def build(self, components: Sequence[Component]) -> Iterator[Outcome]:
        """Build faces, one after the other, and write nothing.

        Raises:
            BadWidget: nothing could be built: there is no Node, npm fails, or Node itself does.
        """
        if not components:
            return
        self.prepare()
        assert self._node is not None
        assert self._toolchain is not None
        task = {
            "toolchain": str(self._toolchain),
            "hooks": str(hooks_folder()),
            "faces": [
                {"id": each.identifier, "entry": str(each.entry.absolute())} for each in components
            ],
        }
        try:
            done = subprocess.run(  # noqa: S603  # a program of ours, or one that we found
                [self._node.program, PROJECT / "build.mjs"],
                input=json.dumps(task),
                capture_output=True,
                env={**self._node.environment, "NODE_ENV": "production"},
                encoding="utf-8",
                errors="replace",
                timeout=_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BadWidget(f"building faces was not done after {_LIMIT_S:g} s") from None
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"id":')]
        if done.returncode or len(lines) != len(components):
            said = "\n".join(done.stderr.strip().splitlines()[-20:])
            raise BadWidget(f"the build of React faces ended with {done.returncode}\n{said}")
        for component, line in zip(components, lines, strict=True):
            yield _outcome(component, json.loads(line))


def _outcome(component: Component, told: dict[str, Any]) -> Outcome:
    problems = tuple(
        Problem(
            each["message"],
            None if each["file"] is None else Path(each["file"]),
            each["line"],
            each["column"],
            each["frame"],
        )
        for each in told["problems"]
    )
    inputs = frozenset(map(Path, told["inputs"])) | component.sources
    return Outcome(component, None if problems else told["page"], problems, inputs)
