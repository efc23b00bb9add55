"""From what somebody declares to a tool; what could never work is refused where it is declared."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import BaseModel, Field, RootModel

from backstay import Context
from backstay.errors import BadWidget
from backstay.widgets import BaseWidget, UserContext, WidgetContext, auth_required
from backstay.widgets.declaration import (
    function_tool,
    prose_of,
    require_name,
    takes_context,
    widget_tool,
)
from backstay.widgets.guards import GuardKind
from backstay.widgets.problems import InvalidInputs
from backstay.widgets.tool import Tool

if TYPE_CHECKING:
    from decimal import Decimal


class In(BaseModel):
    a: int = 1


class Good(BaseWidget):
    """What it does,
    on two lines.

    And more for people.
    """

    identifier = "good"
    title = "Good"
    input_schema = In

    async def execute(self, inputs: In, ctx: WidgetContext) -> dict[str, Any]:
        return {"a": inputs.a}


def tool_of(widget: BaseWidget, **options: Any) -> Tool:
    return widget_tool(widget, None, timeout_s=options.pop("timeout_s", 60.0), **options)


def changed(**attributes: Any) -> BaseWidget:
    return type("Changed", (Good,), attributes)()


def test_a_widget_becomes_a_tool() -> None:
    tool = tool_of(Good())
    assert (tool.name, tool.title, tool.timeout_s) == ("good", "Good", 60.0)
    assert tool.description == "What it does,\non two lines.\n\nAnd more for people."
    assert tool.is_async
    assert tool.guard.kind is not GuardKind.REQUIRED


def test_what_is_not_described_is_described_by_its_title() -> None:
    assert tool_of(changed()).description == "Good"
    assert tool_of(changed(description="For you.")).description == "For you."


def test_a_widgets_own_timeout_goes_before_the_servers() -> None:
    assert tool_of(changed(timeout=5)).timeout_s == 5
    assert tool_of(Good(), timeout_s=None).timeout_s is None


class ArrayInput(RootModel[list[int]]): ...


class ObjectInput(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    thing: object = Field(default_factory=object)
    made: Callable[[], int]


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"identifier": "two words"}, r"has the name 'two words', which clients may refuse"),
        ({"identifier": "x" * 129}, r"1 to 128 letters, digits, '_', '-' and '.'"),
        ({"identifier": ""}, r"has the name ''"),
        ({"identifier": None}, r"has the name None"),
        ({"identifier": "näme"}, r"has the name 'näme'"),
        ({"title": ""}, r"'good' has no title; write title = "),
        ({"title": None}, r"has no title"),
        ({"invoking": "x" * 65}, r"invoking of the widget 'good' is text of 64 characters at most"),
        ({"invoked": 3}, r"invoked of the widget 'good' .* got 3"),
        ({"execute": BaseWidget.execute}, r"'good' has no execute\(self, inputs, ctx\); write one"),
        ({"input_schema": dict}, r"input_schema of the widget 'good' is a pydantic model or None"),
        ({"input_schema": In()}, r"input_schema of the widget 'good' .* got In\(a=1\)"),
        ({"input_schema": ArrayInput}, r"the inputs of 'good' cannot be read .* a JSON array"),
        ({"input_schema": ObjectInput}, r"the inputs of 'good' cannot be read"),
        ({"max_file_bytes": -1}, r"the inputs of 'good' .* must not be negative"),
        ({"task_support": "maybe"}, r"'forbidden', 'optional' or 'required'; got 'maybe'"),
        ({"supported_locales": "fr"}, r"is a list of language tags; got 'fr'"),
        ({"timeout": 0}, r"the timeout of 'good' is seconds, more than 0; got 0"),
        ({"timeout": "5"}, r"got '5'"),
        ({"visibility": ("everybody",)}, r"of 'model' and 'app'; got \['everybody'\]"),
        ({"visibility": ()}, r"of 'model' and 'app'; got \[\]"),
        ({"output_schema": int}, r"the output_schema of 'good' is .*which is no object"),
        ({"output_schema": {"type": "object"}}, r"no JSON schema can be made of what 'good'"),
        ({"execute": lambda self: {}}, r"takes \(inputs\), \(inputs, ctx\) or \(input_data"),
        ({"execute": lambda self, a, b, c, d: {}}, r"got \(a, b, c, d\)"),
        ({"execute": lambda self, a, *, must: {}}, r"got \(a, \*, must\)"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_what_could_never_work_is_refused_with_what_was_found_and_what_would_do(
    attributes: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadWidget, match=told):
        tool_of(changed(**attributes))


def test_a_generator_is_told_what_to_do_instead() -> None:
    def steps(self: Any, inputs: In, ctx: WidgetContext) -> Iterator[int]:
        yield 1

    async def async_steps(self: Any, inputs: In, ctx: WidgetContext) -> AsyncIterator[int]:
        yield 1

    for execute in (steps, async_steps):
        with pytest.raises(BadWidget, match=r"is a generator.*ctx\.progress"):
            tool_of(changed(execute=execute))


class FakeContext:
    """All that invoking a tool asks of a context."""

    user: UserContext | None = None


@pytest.mark.parametrize(
    ("execute", "found"),
    [
        (lambda self, inputs: ("one", inputs), ("one", 7)),
        (lambda self, inputs, ctx: ("two", inputs, ctx is CTX), ("two", 7, True)),
        (lambda self, i, c, user: ("three", i, user.is_authenticated), ("three", 7, False)),
        (lambda self, i, c, user=None: ("three", user.is_authenticated), ("three", False)),
        (lambda self, *args: ("any", len(args)), ("any", 2)),
        (lambda self, inputs, **more: ("one", more), ("one", {})),
        (staticmethod(lambda inputs, ctx: ("static", inputs)), ("static", 7)),
    ],
)
def test_execute_is_called_in_the_form_it_is_written(execute: Any, found: object) -> None:
    assert tool_of(changed(execute=execute)).invoke(7, CTX) == found


CTX = FakeContext()


# ------------------------------------------------------------------ functions


def add(a: int, b: Annotated[int, Field(description="the other")] = 2) -> int:
    """Add two numbers.

    For accountants.
    """
    return a + b


def test_a_function_becomes_a_tool_of_its_parameters() -> None:
    tool = function_tool(add)
    assert (tool.name, tool.title) == ("add", "Add")
    assert tool.description == "Add two numbers.\n\nFor accountants."
    assert tool.inputs.schema["required"] == ["a"]
    assert tool.inputs.schema["properties"]["b"]["description"] == "the other"
    assert tool.output is not None
    assert tool.output.schema["properties"]["result"]["type"] == "integer"
    assert tool.invoke(tool.inputs.validate({"a": 1}), CTX) == 3
    assert not tool.is_async
    with pytest.raises(InvalidInputs):
        tool.inputs.validate({"a": 1, "c": 3})


def test_the_context_is_no_input() -> None:
    def with_context(a: int, ctx: WidgetContext) -> Any:
        return a, ctx

    tool = function_tool(with_context)
    assert list(tool.inputs.schema["properties"]) == ["a"]
    assert tool.invoke(tool.inputs.validate({"a": 1}), CTX) == (1, CTX)


def test_which_parameter_takes_the_context() -> None:
    def annotated(a: int, c: WidgetContext) -> None: ...
    def of_the_base(c: Context) -> None: ...
    def by_name(a, ctx): ...  # type: ignore[no-untyped-def]  # that is what is tested
    def by_other_name(a, context): ...  # type: ignore[no-untyped-def]  # that is what is tested
    def another_thing(a: int, context: str) -> None: ...
    def unreadable(context: Decimal) -> None: ...
    def unreadable_context(c: WidgetContext, d: Decimal) -> None: ...

    assert takes_context(annotated) == "c"
    assert takes_context(of_the_base) == "c"
    assert takes_context(by_name) == "ctx"
    assert takes_context(by_other_name) == "context"
    assert takes_context(another_thing) is None
    assert takes_context(unreadable) is None
    assert takes_context(unreadable_context) == "c"


def test_a_model_is_handed_over_whole_and_a_schema_by_name() -> None:
    def whole(values: In, ctx: WidgetContext) -> Any:
        return type(values).__name__, values.a

    tool = function_tool(whole, input_schema=In)
    assert tool.invoke(tool.inputs.validate({"a": 4}), CTX) == ("In", 4)

    def by_name(**arguments: Any) -> Any:
        return arguments

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    raw = function_tool(by_name, input_schema=schema)
    assert raw.inputs.schema == schema
    assert raw.invoke(raw.inputs.validate({"a": 4}), CTX) == {"a": 4}


def test_a_decorated_function_keeps_its_guard() -> None:
    @auth_required(["orders"])
    def orders() -> None: ...

    tool = function_tool(orders)
    assert (tool.guard.kind, tool.guard.scopes) == (GuardKind.REQUIRED, ("orders",))


def positional_only(a: int, /) -> None: ...
def star(*a: int) -> None: ...
def unknown(a: NoSuchName) -> None: ...  # type: ignore[name-defined]  # noqa: F821  # that is what is tested
def unschematic(a: Iterator[Callable[[], UserContext]], b: type[Good]) -> None: ...


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (positional_only, r"the parameter a: 'int' of the tool 'positional_only' has no name"),
        (star, r"clients pass arguments by name"),
        (unknown, r"annotations of the tool 'unknown' cannot be read: .*NoSuchName"),
        (unschematic, r"'unschematic'"),
        (lambda a: a, r"has the name '<lambda>'"),
        ("text", r"tool\(\) decorates a function; got 'text'"),
    ],
)
def test_a_function_that_could_never_be_a_tool_is_refused(function: Any, told: str) -> None:
    with pytest.raises(BadWidget, match=told):
        function_tool(function)


@pytest.mark.parametrize(
    ("text", "first"),
    [(None, ""), ("", ""), ("One.", "One."), ("One\n    line.\n\n    Two.", "One\nline.\n\nTwo.")],
)
def test_a_docstring_is_told_whole(text: str | None, first: str) -> None:
    assert prose_of(text) == first


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "9" * 128])
def test_names_that_every_client_takes_are_kept(name: str) -> None:
    assert require_name(name, "it") == name
