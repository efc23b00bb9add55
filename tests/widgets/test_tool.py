"""A tool as ``tools/list`` tells it."""

from typing import Any

from backstay.widgets.declaration import function_tool
from backstay.widgets.guards import Guard
from backstay.widgets.inputs import Inputs
from backstay.widgets.output import Output
from backstay.widgets.tool import Tool


def bare(**more: Any) -> Tool:
    options: dict[str, Any] = {
        "name": "bare",
        "title": "Bare",
        "description": "Nothing.",
        "inputs": Inputs(None),
        "output": None,
        "invoke": lambda inputs, ctx: None,
        "is_async": False,
        "guard": Guard.none(),
        "timeout_s": None,
    }
    return Tool(**{**options, **more})


def test_what_is_not_said_is_not_on_the_wire() -> None:
    assert set(bare().description_on_the_wire()) == {"name", "title", "description", "inputSchema"}


def test_what_is_said_is_on_the_wire() -> None:
    told = bare(
        output=Output(int, "bare", wrapped=True),
        annotations={"readOnlyHint": True},
        meta={"a": 1},
        task_support="optional",
    ).description_on_the_wire()
    assert told["outputSchema"]["type"] == "object"
    assert told["annotations"] == {"readOnlyHint": True}
    assert told["_meta"] == {"a": 1}
    assert told["execution"] == {"taskSupport": "optional"}


def test_a_key_belongs_to_one_tool_and_one_set_of_inputs() -> None:
    def first(a: int, b: int = 0) -> None: ...
    def second(a: int, b: int = 0) -> None: ...

    one, other = function_tool(first), function_tool(second)
    keys = [
        each.cache_key(each.inputs.validate(arguments))
        for each in (one, other)
        for arguments in ({"a": 1}, {"b": 0, "a": 1}, {"a": 2})
    ]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 4
    assert keys[0].startswith("first:")
