"""Validators of a schema, taken along to what clients may send."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.viewset.schemas import derive_inputs
from backstay.viewset.validators import compares_fields


class Base(DeclarativeBase):
    pass


class Stay(Base):
    __tablename__ = "stays"
    id: Mapped[int] = mapped_column(primary_key=True)
    guest: Mapped[str]
    first: Mapped[int] = mapped_column(default=0)
    last: Mapped[int] = mapped_column(default=1)
    nights: Mapped[int] = mapped_column(default=1)


class Fields(BaseModel):
    id: int
    guest: str
    first: int = 0

    @field_validator("guest", "id")
    @classmethod
    def tidy(cls, value: Any) -> Any:
        return cls.stripped(value)

    @classmethod
    def stripped(cls, value: Any) -> Any:
        return value.strip() if isinstance(value, str) else value

    @field_validator("*", mode="before")
    @classmethod
    def no_bools(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("no bools")
        return value

    @field_validator("first", mode="wrap")
    @classmethod
    def nothing_is_zero(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> int:
        return 0 if value == "" else int(handler(value))


@pytest.mark.parametrize("verb", ["create", "update", "patch"])
def test_validators_of_fields_run_where_their_fields_are(verb: str) -> None:
    model = getattr(derive_inputs(Stay, Fields), verb)
    item = model.model_validate({"guest": " ada ", "first": ""})
    assert (item.guest, item.first) == ("ada", 0)
    with pytest.raises(ValidationError, match="no bools"):
        model.model_validate({"guest": "ada", "first": True})


class Ordered(BaseModel):
    id: int
    guest: str
    first: int = 0
    last: int = 1
    nights: int = 1

    def length(self) -> int:
        return self.last - self.first

    @model_validator(mode="after")
    def ends_after_it_begins(self) -> Ordered:
        if self.length() < 0:
            raise ValueError("it ends before it begins")
        self.nights = self.length()
        return self


def test_a_validator_of_the_whole_model_has_an_object_of_the_schemas_own() -> None:
    inputs = derive_inputs(Stay, Ordered)
    for model in (inputs.create, inputs.update):
        with pytest.raises(ValidationError, match="it ends before it begins"):
            model.model_validate({"guest": "ada", "first": 3, "last": 1})


def test_what_a_validator_of_the_whole_model_changes_is_written() -> None:
    item = derive_inputs(Stay, Ordered).create.model_validate({"guest": "ada", "last": 4})
    assert item.model_dump() == {"guest": "ada", "first": 0, "last": 4, "nights": 4}
    assert "nights" in item.model_fields_set


def test_a_patch_has_too_few_fields_for_a_validator_of_the_whole_model() -> None:
    item = derive_inputs(Stay, Ordered).patch.model_validate({"last": -1})
    assert item.model_dump(exclude_unset=True) == {"last": -1}


class Asking(BaseModel):
    id: int
    guest: str

    @model_validator(mode="after")
    def odd_ones_are_bobs(self, info: ValidationInfo) -> Asking:
        if self.id % 2 and self.guest != "bob":
            raise ValueError("odd")
        return self


def test_a_validator_that_asks_for_what_clients_do_not_send_says_nothing() -> None:
    item = derive_inputs(Stay, Asking).create.model_validate({"guest": "ada"})
    assert item.model_dump() == {"guest": "ada"}


class Broken(BaseModel):
    id: int
    guest: str

    @model_validator(mode="after")
    def breaks(self) -> Broken:
        raise AttributeError("a fault", name="colour", obj=self.guest)


def test_a_fault_in_a_validator_stays_one() -> None:
    with pytest.raises(AttributeError, match="a fault"):
        derive_inputs(Stay, Broken).create.model_validate({"guest": "ada"})


class Raw(BaseModel):
    id: int
    guest: str
    first: int = 0

    @model_validator(mode="before")
    @classmethod
    def by_another_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "visitor" in value:
            return {**value, "guest": value["visitor"]}
        return value

    @model_validator(mode="wrap")
    @classmethod
    def loud(cls, value: Any, handler: ModelWrapValidatorHandler[Raw]) -> Raw:
        made = handler(value)
        assert isinstance(made, Raw)
        made.guest = made.shouted()
        return made

    def shouted(self) -> str:
        return self.guest.upper()


def test_validators_before_and_around_run_too() -> None:
    create = derive_inputs(Stay, Raw).create
    item = create.model_validate({"visitor": "ada"})
    assert isinstance(item, create)
    assert item.model_dump() == {"guest": "ADA", "first": 0}


class Telling(BaseModel):
    id: int
    guest: str
    first: int = 0
    last: int = 1

    @field_validator("first", "last")
    @classmethod
    def bob_stays_short(cls, value: int, info: ValidationInfo) -> int:
        if info.data["guest"] == "bob" and value > 3:
            raise ValueError(f"{info.field_name} is too much for bob")
        return value

    @field_validator("last", mode="wrap")
    @classmethod
    def not_before(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> int:
        found = int(handler(value))
        if "first" in info.data and found < info.data["first"]:
            raise ValueError("it ends before it begins")
        return found


def test_a_validator_that_looks_at_another_field_passes_what_is_sent_without_it() -> None:
    patch = derive_inputs(Stay, Telling).patch
    assert patch.model_validate({"last": 9}).model_dump(exclude_unset=True) == {"last": 9}
    with pytest.raises(ValidationError, match="last is too much for bob"):
        patch.model_validate({"guest": "bob", "last": 9})
    with pytest.raises(ValidationError, match="it ends before it begins"):
        patch.model_validate({"guest": "ada", "first": 3, "last": 2})


class Faulty(BaseModel):
    id: int
    guest: str

    @field_validator("guest")
    @classmethod
    def looks_up(cls, value: str, info: ValidationInfo) -> str:
        return {"ada": "Ada"}[value]


def test_a_key_that_is_no_field_is_a_fault_and_stays_one() -> None:
    with pytest.raises(KeyError, match="bob"):
        derive_inputs(Stay, Faulty).patch.model_validate({"guest": "bob"})


def test_what_was_not_sent_in_a_patch_is_none_for_who_asks() -> None:
    item = derive_inputs(Stay, Ordered).patch.model_validate({"guest": "ada"})
    assert (item.first, item.last) == (None, None)  # type: ignore[attr-defined]  # derived
    assert "ABSENT" not in repr(item)


def plain(value: int) -> int:
    return value


def informed(value: int, info: ValidationInfo) -> int:
    return value


class NoOpinion(BaseModel):
    id: int = Field(ge=0)
    first: Annotated[int, AfterValidator(plain), AfterValidator(int)] = 0

    @field_validator("id")
    @classmethod
    def alone(cls, value: int) -> int:
        return value


class Annotates(BaseModel):
    first: Annotated[int, AfterValidator(informed)] = 0


@pytest.mark.parametrize(
    ("schema", "compares"),
    [(NoOpinion, False), (Annotates, True), (Ordered, True), (Raw, True), (Telling, True)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_whether_a_schema_compares_fields_is_known(schema: type[BaseModel], compares: bool) -> None:
    assert compares_fields(schema) is compares
