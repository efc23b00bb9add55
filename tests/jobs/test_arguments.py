import datetime as dt
import decimal
import enum
import functools
import json
import logging
import math
import pathlib
import threading
import typing
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import pytest
from annotated_types import Gt
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from typing_extensions import TypedDict, Unpack

from backstay.errors import BadJob, JobError
from backstay.jobs.arguments import Arguments, Result, UnreadableArguments, UnreadableResult
from tests.jobs import late_names
from tests.support import shown

T = TypeVar("T")


def arguments_of(func: Callable[..., object], *, injected: tuple[str, ...] = ()) -> Arguments:
    return Arguments(func, name="shop.work", injected=injected)


def travel(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns when its arguments went through text."""
    arguments = arguments_of(func)
    there, named = arguments.load(arguments.dump(args, kwargs))
    return func(*there, **named)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


class Order(BaseModel):
    id: int
    note: str | None = None
    lines: list[str] = []


@dataclass
class Point:
    x: float
    y: float = 0.0
    raw: bytes = b""


class Options(TypedDict):
    colour: Colour
    raw: bytes


class Pair(NamedTuple):
    left: int
    right: dt.date


class Page(BaseModel, Generic[T]):
    items: list[T]


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


class TestWhatTravels:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (int, 17),
            (int, 2**80),
            (str, 'größe "x" \x00 \U0001f600'),
            (bool, True),
            (float, 0.1),
            (float, math.inf),
            (float, -math.inf),
            (type(None), None),
            (str | None, None),
            (typing.Optional[int], 5),  # noqa: UP045
            (bytes, b"\xff\x00\xfe"),
            (uuid.UUID, uuid.UUID(int=7)),
            (decimal.Decimal, decimal.Decimal("10.10")),
            (dt.date, dt.date(2024, 2, 29)),
            (dt.time, dt.time(1, 2, 3, 4)),
            (dt.timedelta, dt.timedelta(days=-3, microseconds=7)),
            (dt.datetime, dt.datetime(2024, 2, 29, 1, 2, 3, 4)),
            (dt.datetime, dt.datetime(2024, 2, 29, tzinfo=dt.UTC)),
            (dt.datetime, dt.datetime(2024, 7, 1, tzinfo=BERLIN)),
            (pathlib.Path, pathlib.Path("/tmp/a b")),
            (Colour, Colour.BLUE),
            (Level, Level.LOW),
            (Literal["a", 2], "a"),
            (Order, Order(id=1, note="x")),
            (Point, Point(1, 2, b"\xff")),
            (Options, {"colour": Colour.RED, "raw": b"\xff"}),
            (Pair, Pair(1, dt.date(2024, 1, 1))),
            (Page[Order], Page[Order](items=[Order(id=2)])),
            (list[int], [1, 2]),
            (set[str], {"a", "b"}),
            (frozenset[int], frozenset({1})),
            (tuple[int, str], (1, "a")),
            (tuple[bytes, ...], (b"\xff", b"")),
            (dict[str, list[dt.date]], {"a": [dt.date(2024, 1, 1)]}),
            (dict[int, str], {1: "a"}),
            (dict[uuid.UUID, set[Colour]], {uuid.UUID(int=1): {Colour.RED}}),
            (list[Order | None], [None, Order(id=1)]),
            (int | str, "5"),
            (int | str, 5),
            (Annotated[int, Gt(3)], 5),
            (Any, {"a": [1, 2.5, None, True, "x", {"b": []}]}),
            (object, [1, "a"]),
            (dict[str, Any], {"a": [1]}),
            (dict, {"a": [1]}),
            (list, [1, "a"]),
        ],
        ids=shown,
    )
    def test_what_comes_back_equals_what_went_in_and_has_its_type(
        self, annotation: Any, value: Any
    ) -> None:
        def work(value):  # type: ignore[no-untyped-def]
            return value

        work.__annotations__["value"] = annotation
        back = travel(work, value)
        assert back == value
        assert type(back) is type(value)

    def test_a_float_that_is_no_number_stays_one_and_the_text_is_proper_json(self) -> None:
        def work(value: float) -> float:
            return value

        text = arguments_of(work).dump((math.nan,), {})
        assert json.loads(text) == {"value": "NaN"}
        assert math.isnan(travel(work, math.nan))

    def test_the_text_is_an_object_by_parameter_however_arguments_were_given(self) -> None:
        def work(a: int, b: str, *, c: bool) -> None: ...

        expected = {"a": 1, "b": "x", "c": True}
        arguments = arguments_of(work)
        assert json.loads(arguments.dump((1, "x"), {"c": True})) == expected
        assert json.loads(arguments.dump((1,), {"c": True, "b": "x"})) == expected

    def test_no_arguments_are_an_empty_object(self) -> None:
        def work() -> None: ...

        assert arguments_of(work).dump((), {}) == "{}"
        assert arguments_of(work).load("{}") == ((), {})

    def test_a_parameter_that_is_not_given_is_not_written(self) -> None:
        def work(a: int, b: int = 2) -> tuple[int, int]:
            return a, b

        assert arguments_of(work).dump((1,), {}) == '{"a":1}'
        assert travel(work, 1) == (1, 2)

    def test_positional_only_arguments_are_handed_over_by_position(self) -> None:
        def work(a: int, b: int = 2, /, c: int = 3) -> tuple[int, ...]:
            return a, b, c

        assert travel(work, 1) == (1, 2, 3)
        assert travel(work, 1, 5, c=6) == (1, 5, 6)

    def test_star_args_and_star_kwargs_travel_under_their_own_names(self) -> None:
        def work(a: int, b: int = 2, *rest: dt.date, c: int = 3, **extra: bytes) -> Any:
            return a, b, rest, c, extra

        day = dt.date(2024, 1, 1)
        assert travel(work, 1) == (1, 2, (), 3, {})
        assert travel(work, 1, 5, day, day, x=b"\xff") == (1, 5, (day, day), 3, {"x": b"\xff"})
        assert travel(work, a=1, c=4, b=9) == (1, 9, (), 4, {})

    def test_keywords_may_have_the_name_of_a_positional_only_parameter(self) -> None:
        def work(a: int, /, **extra: int) -> Any:
            return a, extra

        assert travel(work, 1, a=2) == (1, {"a": 2})

    def test_unpacked_annotations_of_star_args_and_star_kwargs_are_understood(self) -> None:
        def work(*rest: *tuple[int, str], **extra: Unpack[Options]) -> Any:
            return rest, extra

        options = Options(colour=Colour.RED, raw=b"\xff")
        assert travel(work, 1, "a", **options) == ((1, "a"), options)

    def test_injected_parameters_are_passed_over(self) -> None:
        def work(ctx: object, a: int, session: Session, *, b: int) -> None: ...

        arguments = arguments_of(work, injected=("ctx", "session"))
        text = arguments.dump((1,), {"b": 2})
        assert json.loads(text) == {"a": 1, "b": 2}
        assert arguments.load(text) == ((), {"a": 1, "b": 2})

    def test_a_partial_takes_what_is_left(self) -> None:
        def work(a: int, b: dt.date) -> Any:
            return a, b

        day = dt.date(2024, 1, 1)
        assert travel(functools.partial(work, 1), b=day) == (1, day)

    def test_a_callable_object_is_read_like_its_call_method(self) -> None:
        class Sender:
            def __call__(self, to: uuid.UUID) -> uuid.UUID:
                return to

        assert travel(Sender(), uuid.UUID(int=1)) == uuid.UUID(int=1)

    def test_names_may_be_defined_after_the_function(self) -> None:
        order = late_names.Later(7)
        text = late_names.SHIP.dump((order, [order]), {})
        assert late_names.SHIP.load(text) == ((), {"order": order, "others": [order]})
        assert late_names.SHIPPED.load(late_names.SHIPPED.dump(order)) == order

    def test_values_are_converted_to_their_type_before_they_are_written(self) -> None:
        def work(a: int, b: dt.date) -> Any:
            return a, b

        assert arguments_of(work).dump(("17", "2024-01-01"), {}) == '{"a":17,"b":"2024-01-01"}'

    def test_two_threads_may_need_the_annotations_first(self) -> None:
        def work(a: int) -> None: ...

        arguments, barrier, texts = arguments_of(work), threading.Barrier(4), []

        def dump() -> None:
            barrier.wait(5)
            texts.append(arguments.dump((1,), {}))

        threads = [threading.Thread(target=dump) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert texts == ['{"a":1}'] * 4

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=10,
    )  # fmt: skip

    @given(
        value=json_values,
        number=st.integers(),
        text=st.text(),
        raw=st.binary(),
        when=st.datetimes(),
    )
    def test_anything_json_has_comes_back(
        self, value: Any, number: int, text: str, raw: bytes, when: dt.datetime
    ) -> None:
        def work(value, number: int, *, text: str, raw: bytes, when: dt.datetime):  # type: ignore[no-untyped-def]
            return value, number, text, raw, when

        if isinstance(value, dict) and list(value) == ["$sealed"]:
            return
        back = travel(work, value, number, text=text, raw=raw, when=when)
        assert back == (value, number, text, raw, when)


class Alias(BaseModel):
    name: str = Field(alias="fullName")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

    @property
    def twice(self) -> int:
        return 2 * self.a


class Stamped(BaseModel):
    id: uuid.UUID = Field(default_factory=uuid.uuid4)
    limit: int | None = None


class WithPrivate(BaseModel):
    a: float
    _seen: object = PrivateAttr(default_factory=object)


class WithExcluded(BaseModel):
    token: str = Field(exclude=True)


class WithStars(BaseModel):
    password: SecretStr


class WithBytes(BaseModel):
    raw: bytes


class Loose(BaseModel):
    price: float | None


class BigOrder(Order):
    discount: int = 0


class NoEquality:
    def __init__(self, a: int) -> None:
        self.a = a

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda one: one.a),
        )


class TestModels:
    def test_aliases_are_written_and_read(self) -> None:
        def work(model: Alias) -> Alias:
            return model

        assert travel(work, Alias(fullName="x")).name == "x"

    def test_a_field_that_nobody_set_is_not_written(self) -> None:
        def work(model: Order) -> set[str]:
            return model.model_fields_set

        assert arguments_of(work).dump((Order(id=1),), {}) == '{"model":{"id":1}}'
        assert travel(work, Order(id=1)) == {"id"}

    def test_a_default_that_differs_each_time_is_written(self) -> None:
        def work(model: Stamped) -> Stamped:
            return model

        stamped = Stamped()
        assert travel(work, stamped).id == stamped.id

    def test_private_attributes_do_not_travel_and_are_not_missed(self) -> None:
        def work(model: WithPrivate) -> float:
            return model.a

        assert travel(work, WithPrivate(a=1)) == 1

    def test_a_class_without_equality_is_taken_at_its_word(self) -> None:
        def work(one: list[NoEquality]) -> int:
            return one[0].a

        assert travel(work, [NoEquality(5)]) == 5

    def test_not_a_number_inside_a_dataclass_is_no_difference(self) -> None:
        def work(points: list[Point]) -> float:
            return points[0].x

        assert math.isnan(travel(work, [Point(math.nan)]))

    @pytest.mark.parametrize(
        ("model", "why"),
        [
            (WithExcluded(token="x"), "cannot be read back"),
            (WithStars(password=SecretStr("x")), "stars"),
            (WithBytes(raw=b"\xff"), "utf-8"),
            (Loose(price=math.nan), "come back as Loose"),
        ],
        ids=shown,
    )
    def test_a_model_that_would_come_back_different_is_refused(
        self, model: BaseModel, why: str
    ) -> None:
        def work(number: int, model):  # type: ignore[no-untyped-def]
            return model

        work.__annotations__["model"] = type(model)
        with pytest.raises(BadJob, match=why) as caught:
            arguments_of(work).dump((1, model), {})
        assert "shop.work(): argument 'model'" in str(caught.value)

    def test_an_instance_of_a_subclass_is_refused_since_its_fields_would_be_lost(self) -> None:
        def work(order: Order) -> None: ...

        with pytest.raises(BadJob, match="come back as Order"):
            arguments_of(work).dump((BigOrder(id=1, discount=5),), {})

    def test_a_model_that_was_spoiled_after_it_was_made_is_refused(self) -> None:
        def work(order: Order) -> None: ...

        order = Order(id=1)
        order.id = "no number"  # type: ignore[assignment]
        with pytest.raises(BadJob, match="argument 'order'"):
            arguments_of(work).dump((order,), {})

    def test_a_validator_that_changes_its_own_result_is_refused(self) -> None:
        def work(a: Annotated[str, BeforeValidator(lambda text: text + "!")]) -> None: ...

        with pytest.raises(BadJob, match=r"come back as 'x!!'"):
            arguments_of(work).dump(("x",), {})

    def test_a_union_whose_members_look_alike_in_json_is_refused(self) -> None:
        def work(a: uuid.UUID | str) -> Any:
            return a

        assert travel(work, uuid.UUID(int=0)) == uuid.UUID(int=0)
        assert travel(work, "x") == "x"
        with pytest.raises(BadJob, match="come back as UUID"):
            arguments_of(work).dump((str(uuid.UUID(int=0)),), {})


class TestRefusedArguments:
    @pytest.mark.parametrize(
        "value",
        [(1, 2), {1}, {"a": (1,)}, {1: "a"}, b"x", dt.date(2024, 1, 1), decimal.Decimal(1),
         Order(id=1), Point(1), math.nan, "\ud800", iter([1])],
        ids=shown,
    )  # fmt: skip
    def test_without_annotation_only_what_json_has_is_taken(self, value: Any) -> None:
        def work(value): ...  # type: ignore[no-untyped-def]

        with pytest.raises(BadJob, match="argument 'value'.*annotate the parameter|convert|id"):
            arguments_of(work).dump((value,), {})

    @pytest.mark.parametrize(
        "value",
        [object(), lambda: 1, Session(), Customer(id=1), threading.Lock(), Order],
        ids=lambda value: type(value).__name__,
    )
    def test_objects_of_this_process_are_refused_with_the_remedy(self, value: Any) -> None:
        def work(number: int, thing): ...  # type: ignore[no-untyped-def]

        with pytest.raises(BadJob) as caught:
            arguments_of(work).dump((1,), {"thing": value})
        message = str(caught.value)
        assert "shop.work(): argument 'thing'" in message
        assert type(value).__qualname__ in message
        assert "pass its id" in message

    def test_an_open_file_is_refused(self, tmp_path: pathlib.Path) -> None:
        def work(file: Any) -> None: ...

        with (tmp_path / "x").open("w") as file, pytest.raises(BadJob, match="TextIOWrapper"):
            arguments_of(work).dump((file,), {})

    def test_a_cycle_is_refused(self) -> None:
        def work(value: Any) -> None: ...

        cycle: list[Any] = []
        cycle.append(cycle)
        with pytest.raises(BadJob, match="argument 'value'"):
            arguments_of(work).dump((cycle,), {})

    def test_a_value_of_the_wrong_type_names_argument_value_and_reason(self) -> None:
        def work(a: int, when: list[dt.date]) -> None: ...

        with pytest.raises(BadJob) as caught:
            arguments_of(work).dump((1, ["2024-01-01", "tomorrow" * 100]), {})
        message = str(caught.value)
        assert "argument 'when' does not fit its type: [1]: Input should be a valid date" in message
        assert "'tomorrow" in message
        assert "…" in message
        assert len(message) < 400

    def test_an_object_where_its_id_belongs_is_refused_with_the_remedy(self) -> None:
        def work(customer_id: int) -> None: ...

        with pytest.raises(BadJob, match="'customer_id'.*pass its id"):
            arguments_of(work).dump((Customer(id=1),), {})

    def test_bad_jobs_are_value_errors_of_the_tree(self) -> None:
        assert issubclass(BadJob, ValueError)
        assert issubclass(UnreadableArguments, JobError)

    @pytest.mark.parametrize(
        ("args", "kwargs", "message"),
        [
            ((), {}, "missing a required argument: 'a'"),
            ((1, 2, 3), {}, "too many positional arguments"),
            ((1,), {"a": 2}, "multiple values for argument 'a'"),
            ((1,), {"x": 2}, "got an unexpected keyword argument 'x'"),
            ((1,), {"x": 2, "b": 3}, "got an unexpected keyword argument 'x'"),
        ],
    )
    def test_a_wrong_call_is_the_type_error_python_would_raise(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
    ) -> None:
        def work(a: int, b: int = 2) -> None: ...

        with pytest.raises(TypeError) as caught:
            arguments_of(work).dump(args, kwargs)
        assert str(caught.value).startswith(f"shop.work() {message}; it takes (a")

    def test_a_wrong_call_is_noticed_with_positional_only_parameters_too(self) -> None:
        def work(a: int, /, b: int, *, c: int = 1) -> None: ...

        arguments = arguments_of(work)
        for args, kwargs in (((1,), {}), ((1, 2, 3), {}), ((1, 2), {"b": 1}), ((2,), {"a": 1})):
            with pytest.raises(TypeError, match=r"shop\.work\(\)"):
                arguments.dump(args, kwargs)

    def test_what_is_filled_in_cannot_be_given(self) -> None:
        def work(a: int, ctx: object = None, **extra: int) -> None: ...

        with pytest.raises(TypeError, match="cannot be given 'ctx': it is filled in"):
            arguments_of(work, injected=("ctx",)).dump((1,), {"ctx": 1})

    def test_too_much_names_size_limit_and_the_largest_argument(self) -> None:
        def work(a: str, b: str) -> None: ...

        arguments = arguments_of(work)
        size = len(arguments.dump(("x", "é" * 100), {}))
        with pytest.raises(BadJob) as caught:
            arguments.dump(("x", "é" * 100), {}, max_bytes=size)  # characters, not bytes
        message = str(caught.value)
        assert f"take {size + 100} bytes, and {size} are allowed" in message
        assert "largest is 'b'" in message

    def test_the_limit_is_64_kib_and_can_be_reached(self) -> None:
        def work(a: str) -> None: ...

        arguments = arguments_of(work)
        room = 65_536 - len('{"a":""}')
        assert len(arguments.dump(("x" * room,), {})) == 65_536
        with pytest.raises(BadJob, match="65,537"):
            arguments.dump(("x" * (room + 1),), {})

    def test_an_argument_that_looks_sealed_is_refused(self) -> None:
        def work(a: dict[str, str]) -> dict[str, str]:
            return a

        with pytest.raises(BadJob, match="sealed"):
            arguments_of(work).dump(({"$sealed": "x"},), {})
        nested = {"$sealed": "x", "b": "y"}
        assert travel(work, nested) == nested


class TestRefusedAnnotations:
    def test_a_type_that_cannot_be_json_is_refused_by_name(self) -> None:
        def work(a: int, session: Session, b: str) -> None: ...

        with pytest.raises(BadJob, match=r"argument 'session' is annotated Session.*pass its id"):
            arguments_of(work).prepare()

    def test_a_mapped_class_is_refused_wherever_it_stands(self) -> None:
        def work(customers: list[Customer] | None) -> None: ...

        with pytest.raises(BadJob, match=r"'customers' is annotated Customer, an object of the"):
            arguments_of(work).prepare()

    def test_a_name_for_type_checkers_only_is_refused_with_the_reason(self) -> None:
        with pytest.raises(BadJob, match=r"'Decimal' of argument 'amount'.*TYPE_CHECKING"):
            Arguments(late_names.pay, name="pay").prepare()

    def test_nothing_is_looked_at_before_it_is_needed(self) -> None:
        Arguments(late_names.pay, name="pay")

    def test_what_is_filled_in_by_name_cannot_stand_before_star_args(self) -> None:
        def work(ctx: object, *rest: int) -> None: ...

        with pytest.raises(BadJob, match=r"'ctx'.*before \*rest"):
            arguments_of(work, injected=("ctx",)).prepare()

        def other(ctx: object, /, a: int) -> None: ...

        with pytest.raises(BadJob, match="'ctx'.*before the /"):
            arguments_of(other, injected=("ctx",)).prepare()

    def test_annotations_of_injected_parameters_do_not_matter(self) -> None:
        def work(a: int, session: Session) -> None: ...

        arguments_of(work, injected=("session",)).prepare()


class TestBetweenDeploys:
    def test_a_new_parameter_takes_its_default(self) -> None:
        def work(a: int, b: int = 5, *, c: int = 6) -> Any:
            return a, b, c

        args, kwargs = arguments_of(work).load('{"a":1}')
        assert work(*args, **kwargs) == (1, 5, 6)

    def test_the_default_of_the_code_that_runs_counts(self) -> None:
        def old(a: int, b: int = 1) -> None: ...

        def new(a: int, b: int = 2) -> int:
            return b

        args, kwargs = arguments_of(new).load(arguments_of(old).dump((1,), {}))
        assert new(*args, **kwargs) == 2

    def test_a_parameter_that_is_gone_is_left_out_and_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def work(a: int) -> None: ...

        with caplog.at_level(logging.DEBUG, "backstay.jobs.arguments"):
            assert arguments_of(work).load('{"a":1,"gone":[1,2]}') == ((), {"a": 1})
        assert "shop.work() has no parameter 'gone' any more" in caplog.text

    def test_a_new_positional_only_parameter_takes_its_default(self) -> None:
        def work(a: int, b: int = 5, /, *rest: int) -> Any:
            return a, b, rest

        args, kwargs = arguments_of(work).load('{"a":1,"rest":[7]}')
        assert work(*args, **kwargs) == (1, 5, (7,))

    def test_one_of_kwargs_that_became_a_parameter_arrives_there(self) -> None:
        def work(a: int, colour: str = "red", **extra: str) -> Any:
            return colour, extra

        args, kwargs = arguments_of(work).load('{"a":1,"extra":{"colour":"blue","x":"y"}}')
        assert work(*args, **kwargs) == ("blue", {"x": "y"})

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("{}", "argument 'a': Field required"),
            ('{"a":"x"}', "argument 'a': Input should be a valid integer.*'x'"),
            ('{"a":1', "Invalid JSON"),
            ("", "Invalid JSON"),
            ("[1]", "should be an object"),
            ("null", "should be an object"),
            ('{"a":{"$sealed":"x"}}', "'a' is sealed, and this process has no key"),
            ('["$sealed"]', "no JSON object"),
        ],
    )
    def test_what_does_not_fit_is_unreadable_and_says_why(self, text: str, why: str) -> None:
        def work(a: int) -> None: ...

        with pytest.raises(UnreadableArguments, match=why) as caught:
            arguments_of(work).load(text)
        assert "the arguments of shop.work() cannot be read" in str(caught.value)

    def test_a_row_that_holds_no_text_is_unreadable(self) -> None:
        def work(a: int) -> None: ...

        with pytest.raises(UnreadableArguments):
            arguments_of(work).load(None)  # type: ignore[arg-type]

    def test_a_validator_that_fails_in_its_own_way_makes_it_unreadable(self) -> None:
        def explode(value: object) -> object:
            raise RuntimeError("no such thing")

        def work(a: Annotated[int, BeforeValidator(explode)]) -> None: ...

        with pytest.raises(UnreadableArguments, match="no such thing"):
            arguments_of(work).load('{"a":1}')


class Snooze(Exception):
    pass


class TestResult:
    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (int, 5),
            (bytes, b"\xff"),
            (Point, Point(1, 2, b"\xff")),
            (list[Order], [Order(id=1)]),
            (Order | Snooze, Order(id=1)),
            (int | Snooze | None, 5),
            (Any, {"a": [1]}),
            (dict[str, uuid.UUID], {"a": uuid.UUID(int=1)}),
        ],
        ids=shown,
    )
    def test_what_comes_back_equals_what_was_returned(self, annotation: Any, value: Any) -> None:
        def work(): ...  # type: ignore[no-untyped-def]

        work.__annotations__["return"] = annotation
        result = Result(work, "shop.work", strip=(Snooze,))
        text = result.dump(value)
        assert text is not None
        json.loads(text)
        assert result.load(text) == value
        assert type(result.load(text)) is type(value)

    def test_none_is_no_text_whatever_the_annotation(self) -> None:
        def work() -> int: ...  # type: ignore[empty-body]

        result = Result(work, "shop.work")
        assert result.dump(None) is None
        assert result.load(None) is None

    def test_without_annotation_it_has_to_be_json(self) -> None:
        def work(): ...  # type: ignore[no-untyped-def]

        result = Result(work, "shop.work")
        assert result.dump([1, "a"]) == '[1,"a"]'
        with pytest.raises(BadJob, match=r"shop\.work\(\) returned \(1, 2\) of type tuple"):
            result.dump((1, 2))

    def test_an_annotation_for_type_checkers_only_counts_as_none(self) -> None:
        assert Result(late_names.pay, "pay").dump(5) == "5"

    def test_only_outcomes_leave_nothing_but_none(self) -> None:
        def work() -> Snooze: ...  # type: ignore[empty-body]

        result = Result(work, "shop.work", strip=(Snooze,))
        assert result.dump(None) is None
        with pytest.raises(BadJob):
            result.dump(5)

    def test_a_wrong_result_is_refused_with_value_and_reason(self) -> None:
        def work() -> int: ...  # type: ignore[empty-body]

        with pytest.raises(BadJob, match=r"returned 'x' of type str.*valid integer"):
            Result(work, "shop.work").dump("x")

    def test_a_type_that_cannot_be_kept_is_refused_early(self) -> None:
        def work() -> Session: ...  # type: ignore[empty-body]

        with pytest.raises(BadJob, match=r"shop\.work\(\) returns Session"):
            Result(work, "shop.work").prepare()

    def test_one_that_no_longer_fits_is_unreadable(self) -> None:
        def work() -> int: ...  # type: ignore[empty-body]

        for text in ('"x"', "{", ""):
            with pytest.raises(UnreadableResult, match=r"the result of shop\.work\(\)"):
                Result(work, "shop.work").load(text)
