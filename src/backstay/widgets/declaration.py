"""From what somebody declares, a class or a function, to a ``Tool``."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field, create_model

from backstay.calls import is_async_callable, name_of
from backstay.context import Context
from backstay.errors import BadWidget
from backstay.widgets.context import UserContext, WidgetContext
from backstay.widgets.faces import Face
from backstay.widgets.guards import Guard, guard_of
from backstay.widgets.inputs import Inputs
from backstay.widgets.metadata import tool_annotations, tool_meta
from backstay.widgets.output import Output
from backstay.widgets.raw_inputs import RawInputs
from backstay.widgets.tool import Tool, ToolInputs
from backstay.widgets.widget import BaseWidget

__all__ = ["function_tool", "prose_of", "require_name", "takes_context", "widget_tool"]

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_CONTEXTS = ("ctx", "context")


def require_name(name: object, what: str) -> str:
    """Refuse names that clients may not take (MCP 2025-11-25, tool names).

    Raises:
        BadWidget: it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadWidget(
            f"{what} has the name {name!r}, which clients may refuse: 1 to 128 letters, digits, "
            "'_', '-' and '.'"
        )
    return name


def prose_of(text: str | None) -> str:
    """A docstring without its indentation, all of it: what is not said the model cannot know."""
    return inspect.cleandoc(text or "")


def widget_tool(
    widget: BaseWidget,
    face: Face | None,
    *,
    timeout_s: float | None,
    server_required: bool = False,
    server_scopes: Sequence[str] = (),
) -> Tool:
    """The tool that a widget is.

    Args:
        widget: the instance that serves every call.
        face: its page, ``None`` if it has none.
        timeout_s: for widgets that name no timeout of their own.
        server_required: whether the server verifies tokens.
        server_scopes: what it asks of all tokens.

    Raises:
        BadWidget: it is declared in a way that could never work.
    """
    kind = type(widget)
    name = require_name(getattr(widget, "identifier", None), f"the widget {kind.__qualname__}")
    title = getattr(widget, "title", None)
    if not isinstance(title, str) or not title:
        raise BadWidget(f'the widget {name!r} has no title; write title = "..." in its class')
    for label in ("invoking", "invoked"):
        said = getattr(widget, label)
        if not isinstance(said, str) or len(said) > 64:
            raise BadWidget(
                f"{label} of the widget {name!r} is text of 64 characters at most; got {said!r}"
            )
    if kind.execute is BaseWidget.execute:
        raise BadWidget(f"the widget {name!r} has no execute(self, inputs, ctx); write one")
    model = widget.input_schema
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise BadWidget(
            f"input_schema of the widget {name!r} is a pydantic model or None; got {model!r}"
        )
    inputs = _inputs(model, name, max_file_bytes=widget.max_file_bytes)
    output = (
        Output(widget.output_schema, name)
        if widget.output_schema is not None
        else Output.announced_by(kind.execute, name, plain=False)
    )
    _task_support(widget.task_support, f"the widget {name!r}")
    if isinstance(widget.supported_locales, str):
        raise BadWidget(
            f"supported_locales of the widget {name!r} is a list of language tags; "
            f"got {widget.supported_locales!r}"
        )
    guard = guard_of(kind) or Guard.none()
    return Tool(
        name=name,
        title=title,
        description=widget.description or prose_of(vars(kind).get("__doc__")) or title,
        inputs=inputs,
        output=output,
        invoke=_executing(widget, name),
        is_async=is_async_callable(widget.execute),
        guard=guard,
        timeout_s=_timeout(widget.timeout, timeout_s, name),
        face=face,
        meta=tool_meta(
            widget,
            None if face is None else face.uri,
            guard.announced(server_required=server_required, server_scopes=server_scopes),
            inputs.file_params,
        ),
        annotations=tool_annotations(
            title,
            read_only=widget.read_only,
            destructive=widget.destructive,
            idempotent=widget.idempotent,
            open_world=widget.open_world,
        ),
        supported_locales=widget.supported_locales,
        default_locale=widget.default_locale,
        task_support=widget.task_support,
        task_timeout_s=widget.timeout,
        before_task=_before_task(widget, name),
    )


def _before_task(
    widget: BaseWidget, name: str
) -> Callable[[Any, WidgetContext], Awaitable[Any]] | None:
    before = type(widget).before_task
    if before is BaseWidget.before_task:
        return None
    if not is_async_callable(before):
        raise BadWidget(f"before_task of the widget {name!r} asks, so it is async; write async def")
    return widget.before_task


def _task_support(said: str, whose: str) -> str:
    if said not in {"forbidden", "optional", "required"}:
        raise BadWidget(
            f"task_support of {whose} is 'forbidden', 'optional' or 'required'; got {said!r}"
        )
    return said


def _timeout(own: float | None, default: float | None, name: str) -> float | None:
    found = default if own is None else own
    if found is not None and (
        isinstance(found, bool) or not isinstance(found, int | float) or not found > 0
    ):
        raise BadWidget(f"the timeout of {name!r} is seconds, more than 0; got {found!r}")
    return found


def _inputs(
    model: type[BaseModel] | None, name: str, *, max_file_bytes: int | None = None
) -> Inputs:
    try:
        return (
            Inputs(model)
            if max_file_bytes is None
            else Inputs(model, max_file_bytes=max_file_bytes)
        )
    except (pydantic.PydanticUserError, TypeError, ValueError) as error:
        raise BadWidget(
            f"the inputs of {name!r} cannot be read from a client's JSON: "
            f"{str(error).splitlines()[0]}"
        ) from None


def _executing(widget: BaseWidget, name: str) -> Callable[[Any, WidgetContext], Any]:
    """``execute`` in whichever of its forms it is written."""
    execute = widget.execute
    signature = inspect.signature(execute)
    parameters = list(signature.parameters.values())
    if inspect.isgeneratorfunction(execute) or inspect.isasyncgenfunction(execute):
        raise BadWidget(
            f"execute of the widget {name!r} is a generator, and a call has one answer: return "
            "it, and report on the way with ctx.progress(...)"
        )
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return lambda inputs, ctx: execute(inputs, ctx)
    required = [
        each for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty
    ]
    positional = [
        each
        for each in parameters
        if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}
    ]
    needed = [each for each in positional if each.default is each.empty]
    if not positional or len(needed) > 3 or required:
        raise BadWidget(
            f"execute of the widget {name!r} takes (inputs), (inputs, ctx) or "
            f"(input_data, context, user); got {signature}"
        )
    match len(positional):
        case 1:
            return lambda inputs, ctx: execute(inputs)
        case 2:
            return lambda inputs, ctx: execute(inputs, ctx)
        case _:
            return lambda inputs, ctx: execute(inputs, ctx, ctx.user or UserContext.anonymous())


def function_tool(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    input_schema: type[BaseModel] | Mapping[str, Any] | None = None,
    output_schema: type[BaseModel] | None = None,
    timeout_s: float | None = None,
    server_required: bool = False,
    server_scopes: Sequence[str] = (),
    hints: Mapping[str, bool | None] | None = None,
    visibility: Sequence[str] = ("model", "app"),
    task_support: str = "forbidden",
    before_task: Callable[..., Awaitable[Any]] | None = None,
    task_timeout_s: float | None = None,
) -> Tool:
    """The tool that a plain function is.

    Raises:
        BadWidget: it is declared in a way that could never work.
    """
    if not callable(function):
        raise BadWidget(f"tool() decorates a function; got {function!r}")
    # By its own name: clients do not care which function or class it is defined in.
    found = require_name(
        name or getattr(function, "__name__", None), f"the tool {name_of(function)}"
    )
    parameters = _parameters(function, found)
    context = takes_context(function)
    inputs: ToolInputs
    whole: str | None = None
    if isinstance(input_schema, Mapping):
        inputs = RawInputs(input_schema, found)
    elif input_schema is not None:
        inputs = _inputs(input_schema, found)
        whole = next((each.name for each in parameters if each.name != context), None)
    else:
        inputs = _inputs(_model_of(function, parameters, context, found), found)

    def invoke(values: Any, ctx: WidgetContext) -> Any:
        extra = {} if context is None else {context: ctx}
        if isinstance(values, dict):
            return function(**values, **extra)
        if whole is not None:
            return function(**{whole: values}, **extra)
        return function(
            **{each: getattr(values, each) for each in type(values).model_fields}, **extra
        )

    title = title or found.replace("_", " ").replace("-", " ").capitalize()
    guard = guard_of(function) or Guard.none()
    return Tool(
        name=found,
        title=title,
        description=description or prose_of(function.__doc__) or title,
        inputs=inputs,
        output=Output(output_schema, found)
        if output_schema is not None
        else Output.announced_by(function, found, plain=True),
        invoke=invoke,
        is_async=is_async_callable(function),
        guard=guard,
        timeout_s=_timeout(None, timeout_s, found),
        meta=tool_meta(
            None,
            None,
            guard.announced(server_required=server_required, server_scopes=server_scopes),
            inputs.file_params,
            visibility=visibility,
        ),
        annotations=tool_annotations(title, **(hints or {})),
        task_support=_task_support(task_support, f"the tool {found!r}"),
        task_timeout_s=task_timeout_s,
        before_task=None if before_task is None else lambda inputs, ctx: before_task(ctx),
    )


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise BadWidget(f"the signature of the tool {name!r} cannot be read: {error}") from None
    for each in signature.parameters.values():
        if each.kind in {each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY}:
            # A raw input_schema may well come with **arguments.
            if each.kind is each.VAR_KEYWORD:
                continue
            raise BadWidget(
                f"the parameter {each} of the tool {name!r} has no name to call it by; clients "
                "pass arguments by name"
            )
    return list(signature.parameters.values())


def takes_context(function: Callable[..., Any]) -> str | None:
    """The name of the parameter that takes the ``WidgetContext``, ``None`` if there is none.

    It is the one annotated so, or one called ``ctx`` or ``context`` that has no annotation.
    """
    parameters = inspect.signature(function).parameters.values()
    return next((each.name for each in parameters if _is_context(each, function)), None)


def _is_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return parameter.name in _CONTEXTS
    if isinstance(annotation, str):
        try:
            annotation = typing.get_type_hints(function).get(parameter.name, annotation)
        except (NameError, TypeError):
            return annotation.rpartition(".")[2] in {"WidgetContext", "Context"}
    return isinstance(annotation, type) and issubclass(annotation, Context)


def _model_of(
    function: Callable[..., Any],
    parameters: Sequence[inspect.Parameter],
    context: str | None,
    name: str,
) -> type[BaseModel]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise BadWidget(
            f"the annotations of the tool {name!r} cannot be read: {error}; import what they name "
            "at the top of the module"
        ) from None
    fields: dict[str, Any] = {}
    for each in parameters:
        if each.name == context or each.kind is each.VAR_KEYWORD:
            continue
        kind = hints.get(each.name, Any)
        fields[each.name] = (kind, Field() if each.default is each.empty else each.default)
    try:
        return create_model(f"{name}_arguments", __config__=ConfigDict(), **fields)
    except (pydantic.PydanticUserError, NameError, TypeError, ValueError) as error:
        raise BadWidget(
            f"no model can be made of the parameters of the tool {name!r}: "
            f"{str(error).splitlines()[0]}"
        ) from None
