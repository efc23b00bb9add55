"""What the generator wrote is read before it is handed out, and no text of samples reaches it."""

import ast
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration.sample_models import source as module
from backstay.integration.sample_models.plan import Enumeration, Model, ModelField, Plan
from backstay.integration.sample_models.source import source_of
from tests.integration.sample_models.generated import assert_only_declares, classes
from tests.test_import import run_python

INJECTION = 'x: int = __import__("os").system("echo HACK")\n"""{{ 7*7 }}{% raw %}\u202e'


def planned(*fields: ModelField, enums: tuple[Enumeration, ...] = ()) -> Plan:
    return Plan([Model("Order", list(fields))], list(enums), None, frozenset())


def field(key: str, name: str, kind: tuple[Any, ...] = ("int",)) -> ModelField:
    return ModelField(key, name, kind, nullable=False, required=True)


def test_keys_and_values_are_literals_that_print() -> None:
    enum = Enumeration("Status", {INJECTION: "BAD", "paid": "PAID"})
    source = source_of(
        planned(field(INJECTION, "x"), field("s", "s", ("enum", 0)), enums=(enum,)),
        base="pydantic.BaseModel",
    )
    assert_only_declares(source)
    assert source.replace("\n", "").isprintable()
    tree = ast.parse(source)
    constants = [each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)]
    assert constants.count(INJECTION) == 2


def test_keys_that_look_like_stand_ins_are_not_taken_for_them() -> None:
    source = source_of(
        planned(field("k0", "k0"), field("kk1", "kk1"), field("class", "class_")),
        base="pydantic.BaseModel",
    )
    assert classes(source)["Order"] == [
        "k0: int",
        "kk1: int",
        "class_: int = Field(..., alias='class')",
    ]


def test_the_base_is_imported_from_where_it_is() -> None:
    source = source_of(planned(field("a", "a")), base="shop.models.Model")
    assert "from shop.models import Model\n" in source
    assert "class Order(Model):\n" in source


def test_no_configuration_of_the_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = planned(field("a" * 40, "a" * 40), field("class", "class_"))
    before = source_of(wanted, base="pydantic.BaseModel")
    (tmp_path / "pyproject.toml").write_text(
        "[tool.black]\nline-length = 20\n[tool.isort]\nforce_single_line = true\n"
        "[tool.datamodel-codegen]\nuse-double-quotes = false\nsnake-case-field = true\n"
    )
    (tmp_path / "datamodel_code_generator.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    assert source_of(wanted, base="pydantic.BaseModel") == before


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("class Order(BaseModel):\n    a: int\nprint(1)\n", "line 3"),
        ("import os\nclass Order(BaseModel):\n    a: int\n", "line 1"),
        ("from os import system\nclass Order(BaseModel):\n    a: int\n", "line 1"),
        ("from . import x\nclass Order(BaseModel):\n    a: int\n", "line 1"),
        ("class Order(BaseModel):\n    a: int = print(1)\n", "other fields for Order"),
        ("class Order(BaseModel):\n    a: print(1)\n", "other fields for Order"),
        ("class Order(BaseModel):\n    a: 'print(1)'\n", "other fields for Order"),
        ("class Order(BaseModel):\n    a: int\n    print(1)\n", "other fields for Order"),
        ("class Order(BaseModel):\n    b: int\n", "other fields for Order"),
        ("class Order(BaseModel):\n    a: int\n    a: int\n", "other fields for Order"),
        ("class Order(BaseModel):\n    a: int = Field(print(1), alias='a')\n", "other fields"),
        ("class Order(f()):\n    a: int\n", "other bases for Order"),
        ("@f\nclass Order(BaseModel):\n    a: int\n", "line 2"),
        ("class Order(BaseModel, metaclass=M):\n    a: int\n", "line 1"),
        ("class Other(BaseModel):\n    a: int\n", "line 1"),
        ("x = 1\n", "line 1"),
        ("", "no Order"),
        ("class Order(\n", "no Python"),
    ],
    ids=[str(number) for number in range(18)],
)
def test_a_module_with_anything_else_in_it_is_refused(
    written: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_generated", lambda *_: written)
    with pytest.raises(BadIntegration) as caught:
        source_of(planned(field("a", "a")), base="pydantic.BaseModel")
    assert f"wrote {problem}" in str(caught.value)


def test_values_that_are_not_those_of_the_samples_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = "class Order(BaseModel):\n    a: int\nclass S(StrEnum):\n    A = {}\n"
    wanted = planned(field("a", "a"), enums=(Enumeration("S", {"a": "A"}),))
    for value, is_fine in (("'a'", True), ("'b'", False), ("print(1)", False)):
        monkeypatch.setattr(module, "_generated", lambda *_, value=value: written.format(value))
        if is_fine:
            assert source_of(wanted, base="pydantic.BaseModel")
        else:
            with pytest.raises(BadIntegration, match="other values for S"):
                source_of(wanted, base="pydantic.BaseModel")


def test_an_error_of_the_generator_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    import datamodel_code_generator

    def fail(*_: object, **__: object) -> str:
        raise RuntimeError("out of ink")

    monkeypatch.setattr(datamodel_code_generator, "generate", fail)
    with pytest.raises(BadIntegration, match="could not write the models: RuntimeError: out of"):
        source_of(planned(field("a", "a")), base="pydantic.BaseModel")


def test_without_the_generator_the_extra_is_named() -> None:
    done = run_python(
        """
        from backstay.errors import MissingExtra
        from backstay.integration import generate_pydantic_models, py2dantic
        assert generate_pydantic_models({"a": 1}, 1)
        try:
            py2dantic({"a": 1})
        except MissingExtra as missing:
            print(missing)
        """,
        blocked=("datamodel_code_generator",),
    )
    assert done.stdout == (
        "backstay.py2dantic needs the package 'datamodel_code_generator', which is not installed: "
        'pip install "backstay[py2dantic]"\n'
    ), done.stderr


def test_importing_it_loads_no_generator_and_no_client() -> None:
    done = run_python(
        """
        import sys
        import backstay.integration.sample_models
        print(*{"datamodel_code_generator", "black", "httpx"} & set(sys.modules))
        """
    )
    assert (done.stdout, done.stderr) == ("\n", "")
