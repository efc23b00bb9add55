"""The module of a plan: written by datamodel-code-generator, and looked at before it is handed out.

No text of the samples reaches the generator: it is told names that ``names`` has cleaned, and
stand-ins for keys and values, which are put back as literals when it is done. What it wrote is
then read as Python: there are imports of known modules, classes, annotated fields and constants,
or the module is refused.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backstay.errors import BadIntegration, MissingExtra
from backstay.integration.sample_models.names import literal
from backstay.integration.sample_models.plan import Model, Plan

__all__ = ["source_of"]

_BASIC: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "null": {"type": "null"},
    "any": {},
}
_MODULES = {"__future__", "datetime", "enum", "pydantic", "typing", "uuid"}


def source_of(plan: Plan, *, base: str) -> str:
    """The source code of a plan.

    Args:
        plan: what to write.
        base: the class that models are made from, with its module.

    Raises:
        MissingExtra: datamodel-code-generator is not installed.
        BadIntegration: it wrote something else than was asked for.
    """
    stand_ins = _StandIns(plan)
    source = stand_ins.replaced(_generated(_schema(plan, stand_ins), stand_ins, base))
    problem = _problem(source, plan, base)
    if problem is not None:
        raise BadIntegration(
            f"datamodel-code-generator wrote {problem}, which was not asked for; nothing is "
            "handed out. Please report the sample and the version of datamodel-code-generator"
        )
    return source


class _StandIns:
    """Words that stand for keys and values of the samples, as long as their literals."""

    def __init__(self, plan: Plan) -> None:
        self._prefix = "k"
        keys = [each.key for model in plan.models for each in model.fields]
        while any(each.startswith(self._prefix) and each[-1:].isdigit() for each in keys):
            self._prefix += "k"
        self._texts: list[str] = []
        self.names: dict[str, str] = {}

    def key(self, key: str, name: str) -> str:
        """What the generator is told for a key; the key itself if that is the field's name."""
        if key == name:
            return key
        word = self.text(key)
        self.names[word] = name
        return word

    def text(self, text: str) -> str:
        """What the generator is told for a text."""
        self._texts.append(text)
        word = f"{self._prefix}{len(self._texts) - 1}"
        return word.ljust(len(literal(text)) - 2, "_")

    def replaced(self, source: str) -> str:
        """The source with the texts themselves."""
        return re.sub(
            rf'"{self._prefix}(\d+)_*"',
            lambda match: literal(self._texts[int(match[1])]),
            source,
        )


def _schema(plan: Plan, stand_ins: _StandIns) -> dict[str, Any]:
    """The plan as JSON Schema, as the generator is told it."""

    def of(kind: tuple[Any, ...]) -> dict[str, Any]:
        what, *parts = kind
        match what:
            case "format":
                return {"type": "string", "format": parts[0]}
            case "list":
                return {"type": "array", "items": of(parts[0])}
            case "map":
                return {"type": "object", "additionalProperties": of(parts[0])}
            case "union":
                return {"anyOf": [of(each) for each in parts]}
            case "model":
                return {"$ref": f"#/$defs/{plan.models[parts[0]].name}"}
            case "enum":
                return {"$ref": f"#/$defs/{plan.enums[parts[0]].name}"}
            case _:
                return dict(_BASIC[what])

    def with_null(kind: tuple[Any, ...], nullable: bool) -> dict[str, Any]:
        if not nullable or kind == ("any",):
            return of(kind)
        parts = kind[1:] if kind[0] == "union" else (kind,)
        return of(("union", *parts, ("null",)))

    definitions: dict[str, Any] = {}
    for enum in plan.enums:
        definitions[enum.name] = {
            "type": "string",
            "enum": [stand_ins.text(each) for each in enum.members],
            "x-enum-varnames": list(enum.members.values()),
        }
    for model in plan.models:
        told = {each.name: stand_ins.key(each.key, each.name) for each in model.fields}
        definitions[model.name] = {
            "type": "object",
            "properties": {
                told[each.name]: with_null(each.type, each.nullable) for each in model.fields
            },
            "required": [told[each.name] for each in model.fields if each.required],
        }
    if plan.listed is not None:
        name, inner, nullable = plan.listed
        definitions[name] = {"type": "array", "items": with_null(inner, nullable)}
    return {"$defs": definitions}


def _generated(schema: dict[str, Any], stand_ins: _StandIns, base: str) -> str:
    try:
        from datamodel_code_generator import generate
        from datamodel_code_generator.enums import DataModelType, InputFileType
        from datamodel_code_generator.format import DatetimeClassType, Formatter, PythonVersion
    except ImportError as missing:
        raise MissingExtra("py2dantic", missing.name or "datamodel_code_generator") from missing
    try:
        with TemporaryDirectory() as folder, warnings.catch_warnings():
            # Or it would look for the configuration of black from the current folder upwards.
            settings = Path(folder) / "pyproject.toml"
            settings.write_text("[tool.black]\nline-length = 88\n")
            # What it advises is advice to us: which options it will have one day.
            warnings.simplefilter("ignore")
            source = generate(
                json.dumps(schema),
                input_file_type=InputFileType.JsonSchema,
                output_model_type=DataModelType.PydanticV2BaseModel,
                target_python_version=PythonVersion.PY_311,
                base_class=base,
                aliases=stand_ins.names,
                custom_class_name_generator=lambda name: name,
                skip_root_model=True,
                strict_nullable=True,
                use_standard_collections=True,
                use_union_operator=True,
                use_double_quotes=True,
                output_datetime_class=DatetimeClassType.Awaredatetime,
                formatters=[Formatter.BUILTIN],
                settings_path=settings,
                custom_file_header="#",
                disable_timestamp=True,
            )
    except Exception as error:
        raise BadIntegration(
            f"datamodel-code-generator {version('datamodel-code-generator')} could not write the "
            f"models: {type(error).__name__}: {error}"
        ) from error
    assert isinstance(source, str)
    return source.removeprefix("#").lstrip("\n").rstrip("\n") + "\n"


# ---------------------------------------------------------------------- what was written


def _problem(source: str, plan: Plan, base: str) -> str | None:
    """What is in a module that must not be, ``None`` if nothing is."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        return f"no Python (line {error.lineno}: {error.msg})"
    modules = _MODULES | {base.rpartition(".")[0]}
    models = {each.name: each for each in plan.models}
    enums = {each.name: each for each in plan.enums}
    others = set() if plan.listed is None else {plan.listed[0]}
    found: set[str] = set()
    for statement in module.body:
        match statement:
            case ast.ImportFrom(module=str(name), level=0) if name in modules:
                continue
            case ast.ClassDef(name=name, decorator_list=[], keywords=[], body=body) if (
                name in {*models, *enums, *others} and name not in found
            ):
                found.add(name)
                if name in models and _fields(body) != _wanted(models[name]):
                    return f"other fields for {name}"
                if name in enums and _constants(body) != list(enums[name].members):
                    return f"other values for {name}"
                if name in others and len(_fields(body) or ()) != 1:
                    return f"more than a list for {name}"
                if not all(_is_type(each) for each in statement.bases):
                    return f"other bases for {name}"
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="model_rebuild"),
                    args=[],
                    keywords=[],
                )
            ) if name in {*models, *others}:
                continue
            case _:
                return f"line {statement.lineno}"
    missing = {*models, *enums, *others} - found
    return f"no {min(missing)}" if missing else None


def _wanted(model: Model) -> list[tuple[str, bool]]:
    return [(each.key, each.required) for each in model.fields]


def _fields(body: list[ast.stmt]) -> list[tuple[str, bool]] | None:
    """Keys of a class's fields and whether each is required; ``None`` if there is more in it."""
    fields: list[tuple[str, bool]] = []
    names: set[str] = set()
    for statement in body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=value) if (
                _is_type(kind) and name not in names
            ):
                names.add(name)
                match value:
                    case None:
                        fields.append((name, True))
                    case ast.Constant(value=None):
                        fields.append((name, False))
                    case ast.Call(
                        func=ast.Name(),
                        args=[ast.Constant(value=default)],
                        keywords=[ast.keyword(arg="alias", value=ast.Constant(value=str(alias)))],
                    ) if default is None or default is ...:
                        fields.append((alias, default is ...))
                    case _:
                        return None
            case ast.Pass():
                continue
            case _:
                return None
    return fields


def _constants(body: list[ast.stmt]) -> list[str] | None:
    values: list[str] = []
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=str(text))):
                values.append(text)
            case _:
                return None
    return values


def _is_type(node: ast.expr) -> bool:
    """Whether an annotation is made of names, brackets and ``|`` alone."""
    return all(
        isinstance(
            each,
            ast.Name | ast.Subscript | ast.BinOp | ast.BitOr | ast.Tuple | ast.expr_context,
        )
        or (isinstance(each, ast.Constant) and each.value is None)
        for each in ast.walk(node)
    )
