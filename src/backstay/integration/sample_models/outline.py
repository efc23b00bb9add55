"""``generate_pydantic_models``: one dict outlined as models, down to a depth.

Older than ``py2dantic`` and simpler: the types of one sample, and its text has no imports.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from backstay.errors import BadIntegration
from backstay.integration.sample_models.names import field_names, is_name, literal
from backstay.integration.sample_models.samples import read_sample

__all__ = ["generate_pydantic_models"]

_NEEDED = frozenset(dir(BaseModel)) | {
    "Any",
    "Dict",
    "Field",
    "List",
    "bool",
    "float",
    "int",
    "str",
}


def generate_pydantic_models(
    data: dict[str, Any],
    depth: int,
    prfix_class_name: str = "RootModel",
    parent_class: str = "BaseModel",
) -> str:
    """Write the models of one dict, without imports: for pasting, and for reading its shape.

    ``py2dantic`` knows more: several samples, dates, unions, shared models.

    Args:
        data: the sample.
        depth: how many levels get models; what is deeper is a ``Dict``.
        prfix_class_name: the outermost model's name, and what the others' names begin with.
        parent_class: what models are made from, as it is called where the text will be.

    Returns:
        The classes, each behind those that it uses. They need ``Any``, ``Dict`` and ``List`` of
        ``typing``, and ``Field`` of pydantic where a key cannot be a field's name.

    Raises:
        BadIntegration: the sample is no dict of what JSON can say, or a name is none.
    """
    if not is_name(prfix_class_name):
        raise BadIntegration(f"prfix_class_name={prfix_class_name[:80]!r} is no name for a class")
    if not all(map(is_name, parent_class.split("."))):
        raise BadIntegration(f"parent_class={parent_class[:80]!r} is no name of a class")
    if not isinstance(data, dict):
        raise BadIntegration(f"data is {type(data).__name__}, and a model is made of a dict")
    (sample,) = read_sample(data, "data")
    outline = _Outline(depth, parent_class)
    outline.add(sample, prfix_class_name, 1)
    return "\n".join(reversed(outline.classes))


class _Outline:
    def __init__(self, depth: int, parent_class: str) -> None:
        self.classes: list[str] = []
        self._depth = depth
        self._parent_class = parent_class
        self._taken: set[str] = set()

    def add(self, sample: dict[str, Any], class_name: str, level: int) -> None:
        """Add the class of a dict, and behind it those of dicts in it."""
        if level > self._depth:
            return
        self._taken.add(class_name)
        below = {f"{class_name}_{key.capitalize()}" for key in sample}
        names = field_names(
            list(sample),
            forbidden=_NEEDED | below | {f"{each}Item" for each in below} | {self._parent_class},
            snake_case=False,
        )
        place = len(self.classes)
        self.classes.append("")
        lines: list[str] = []
        for key, value in sample.items():
            name = names[key]
            inner = value[0] if isinstance(value, list) and value else value
            if isinstance(inner, dict) and level < self._depth:
                several = inner is not value
                model = self._free(f"{class_name}_{name.capitalize()}{'Item' if several else ''}")
                lines.append(_line(key, name, f"List[{model}]" if several else model, None))
                self.add(inner, model, level + 1)
            else:
                lines.append(_line(key, name, _type(value), "None"))
        body = "\n".join(lines) or "    pass"
        self.classes[place] = f"class {class_name}({self._parent_class}):\n{body}\n"

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self._taken:
            free, number = f"{name}_{number}", number + 1
        return free


def _line(key: str, name: str, kind: str, default: str | None) -> str:
    if key == name:
        return f"    {name}: {kind}" + ("" if default is None else f" = {default}")
    told = "" if default is None else f"{default}, "
    return f"    {name}: {kind} = Field({told}alias={literal(key)})"


def _type(value: Any) -> str:
    if isinstance(value, list):
        return f"List[{_type(value[0])}]" if value else "List"
    if isinstance(value, dict):
        return "Dict"
    return type(value).__name__ if isinstance(value, bool | int | float | str) else "Any"
