"""A tool as the server knows it, whether a widget or a plain function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from backstay.widgets.guards import Guard

if TYPE_CHECKING:
    from backstay.widgets.faces import Face
    from backstay.widgets.output import Output

__all__ = ["Tool", "ToolInputs"]


class ToolInputs(Protocol):
    """From a client's arguments to what a tool takes."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema (2020-12) of the arguments."""

    @property
    def file_params(self) -> tuple[str, ...]:
        """Names of arguments that are references to files."""

    def validate(self, arguments: Mapping[str, Any] | None) -> Any:
        """The arguments, checked.

        Raises:
            InvalidInputs: they will not do, and why.
        """

    def cache_key(self, inputs: Any) -> str:
        """The same for equal inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What can be called.

    Attributes:
        name: as clients call it.
        title: for people.
        description: for the model.
        inputs: its arguments.
        output: what it announces to return, ``None`` for nothing.
        invoke: takes what ``inputs.validate`` gave and the call's ``WidgetContext``.
        is_async: whether ``invoke`` gives an awaitable; else it runs in a thread.
        guard: who may call it.
        timeout_s: how long it may run, ``None`` for ever.
        face: its page, ``None`` if it has none.
        meta: the ``_meta`` of its description.
        annotations: MCP's hints: ``readOnlyHint`` and so on.
        supported_locales, default_locale: as widgets declare them.
        task_support: ``forbidden``, ``optional``, ``required``.
        task_timeout_s: how long it may run in the background, ``None`` for ever: what it says
            itself, and never what the server says of calls that somebody waits for.
        before_task: takes what ``invoke`` takes and is awaited before it goes there.
    """

    name: str
    title: str
    description: str
    inputs: ToolInputs
    output: Output | None
    invoke: Callable[[Any, Any], Any]
    is_async: bool
    guard: Guard
    timeout_s: float | None
    face: Face | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    annotations: Mapping[str, Any] = field(default_factory=dict)
    supported_locales: Sequence[str] | None = None
    default_locale: str = "en"
    task_support: str = "forbidden"
    task_timeout_s: float | None = None
    before_task: Callable[[Any, Any], Awaitable[Any]] | None = None

    def cache_key(self, inputs: Any) -> str:
        """A key for these inputs of this tool."""
        return f"{self.name}:{self.inputs.cache_key(inputs)}"

    def description_on_the_wire(self) -> dict[str, Any]:
        """As ``tools/list`` tells it (MCP 2025-11-25, Tool)."""
        found: dict[str, Any] = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.inputs.schema,
        }
        if self.output is not None:
            found["outputSchema"] = self.output.schema
        if self.annotations:
            found["annotations"] = dict(self.annotations)
        if self.task_support != "forbidden":
            found["execution"] = {"taskSupport": self.task_support}
        if self.meta:
            found["_meta"] = dict(self.meta)
        return found
