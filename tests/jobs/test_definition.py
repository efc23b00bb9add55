"""``@task``: what it makes of a function, which options it takes, and what it refuses."""

import inspect
import json
import pickle
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends

from backstay.context import Context
from backstay.errors import BadJob
from backstay.jobs.definition import (
    DEFAULT_RETRY,
    require_priority,
    require_queue,
    require_task,
)
from backstay.ledger.rows import FINISHED, LIVE
from backstay.tasks import Call, JobFailure, Rate, Retry, State, TaskFunction, Unique, task
from tests.support import async_test


async def send(order: int, copy: bool = False) -> str:
    """Send it."""
    return f"{order} {copy}"


def count(*names: str) -> int:
    return len(names)


def with_context(path: str, ctx: Context) -> None: ...


class Shop:
    """Tasks where no scan finds them: other tests' apps are not to know them."""

    send = task(send)
    count = task(queue="mail", priority=7)(count)


# ---------------------------------------------------------------------- still a function


@async_test
async def test_an_async_task_is_called_as_the_function_it_is() -> None:
    assert await Shop.send(17) == "17 False"
    assert await Shop.send(order=17, copy=True) == "17 True"


def test_a_sync_task_is_called_as_the_function_it_is() -> None:
    assert Shop.count("a", "b") == 2


def test_it_looks_like_the_function() -> None:
    assert Shop.send.__name__ == "send"
    assert Shop.send.__qualname__ == "send"
    assert Shop.send.__module__ == __name__
    assert Shop.send.__doc__ == "Send it."
    assert inspect.unwrap(Shop.send) is send
    assert list(inspect.signature(Shop.send).parameters) == ["order", "copy"]
    assert repr(Shop.send) == f"<task {__name__}.send>"


def test_a_task_is_pickled_by_reference() -> None:
    module = types.ModuleType("tests_pickled_task")
    sys.modules[module.__name__] = module
    try:
        exec("from backstay.tasks import task\n@task\ndef f() -> None: ...", vars(module))
        assert pickle.loads(pickle.dumps(module.f)) is module.f
    finally:
        del sys.modules[module.__name__]


def test_what_it_does_that_says_nothing() -> None:
    assert Shop.send.name == f"{__name__}.send"
    assert (
        Shop.send.queue,
        Shop.send.priority,
        Shop.send.timeout,
        Shop.send.limit,
        Shop.send.rate,
    ) == (
        "default",
        0,
        None,
        None,
        None,
    )
    assert (Shop.send.unique, Shop.send.cron, Shop.send.transactional, Shop.send.executor) == (
        None,
        None,
        False,
        "auto",
    )
    assert (Shop.send.on_error, Shop.send.on_discard, Shop.send.keep_s, Shop.send.aliases) == (
        None,
        None,
        None,
        (),
    )
    assert Shop.send.retry is DEFAULT_RETRY


def test_by_default_there_are_ten_attempts_within_about_half_an_hour() -> None:
    assert DEFAULT_RETRY.attempts == 10
    pauses = [DEFAULT_RETRY.pause_s(failures, 0.5) for failures in range(1, 10)]
    assert 5 * 60 < sum(pauses) < 60 * 60
    longest = sum(DEFAULT_RETRY.pause_s(failures, 0.999) for failures in range(1, 10))
    assert longest < 60 * 60


def test_options_are_kept() -> None:
    @task
    async def told(failure: JobFailure) -> None: ...

    @task(
        name="shop.pay",
        aliases=["shop.charge"],
        queue="money",
        priority=-1000,
        retry=Retry(attempts=2),
        timeout=1.5,
        limit=3,
        limit_key="customer",
        rate="10/minute",
        unique=True,
        transactional=True,
        on_error=told,
        on_discard=told,
        keep_s=60,
    )
    async def pay(customer: str) -> None: ...

    assert (pay.name, pay.aliases, pay.queue) == ("shop.pay", ("shop.charge",), "money")
    assert (pay.priority, pay.retry, pay.timeout) == (-1000, Retry(attempts=2), 1.5)
    assert (pay.limit, pay.limit_key, pay.rate) == (3, "customer", Rate(10, per_s=60))
    assert (pay.unique, pay.transactional, pay.keep_s) == (Unique(), True, 60)
    assert (pay.on_error, pay.on_discard) == (told, told)


def test_options_may_be_collected_in_steps() -> None:
    mail = task(queue="mail", priority=3)

    @mail
    async def one() -> None: ...

    @mail(priority=4)
    async def other() -> None: ...

    assert (one.queue, one.priority) == ("mail", 3)
    assert (other.queue, other.priority) == ("mail", 4)


def test_bind_keeps_the_arguments_for_later() -> None:
    call = Shop.send.bind(17, copy=True)
    assert isinstance(call, Call)
    assert (call.task, call.args, dict(call.kwargs)) == (Shop.send, (17,), {"copy": True})


def test_injected_parameters_are_no_arguments() -> None:
    def get_mailer() -> str:
        return "mailer"

    @task
    async def greet(
        email: str, ctx: Context, mailer: Annotated[str, Depends(get_mailer)], other: str = "x"
    ) -> None: ...

    assert greet.injection.names == {"ctx", "mailer"}
    assert json.loads(greet.arguments.dump(("a@example.com",), {"other": "y"})) == {
        "email": "a@example.com",
        "other": "y",
    }
    with pytest.raises(TypeError):
        greet.arguments.dump(("a@example.com",), {"mailer": "mine"})


def test_is_async_says_how_it_is_called() -> None:
    assert Shop.send.is_async
    assert not Shop.count.is_async


# ---------------------------------------------------------------------- names


def test_a_task_of_the_main_module_is_named_as_others_import_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    source = "from backstay.tasks import task\n@task\ndef rebuild() -> None: ..."

    main.__file__ = str(Path("/srv/shop/indexing.py"))
    exec(source, namespace)
    assert namespace["rebuild"].name == "indexing.rebuild"

    main.__spec__ = types.SimpleNamespace(name="shop.indexing")  # type: ignore[assignment]  # as python -m does
    exec(source, namespace)
    assert namespace["rebuild"].name == "shop.indexing.rebuild"


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", 7])
def test_a_name_that_no_row_can_hold_is_refused(name: Any) -> None:
    with pytest.raises(BadJob, match=r"@task\(name=\).*200"):
        task(name=name)(send)


def test_aliases_are_a_list() -> None:
    with pytest.raises(BadJob, match=r"aliases=.*list.*'old'"):
        task(aliases="old")(send)
    with pytest.raises(BadJob, match="aliases"):
        task(aliases=["ok", ""])(send)


# ---------------------------------------------------------------------- what is refused


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Service:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("func", "says"),
    [
        (lambda: None, "lambda"),
        (Service, "above a function"),
        (Service(), "function"),
        (7, "above a function; got 7"),
        ("send", "above a function"),
        (generator, "generator"),
        (async_generator, "generator"),
        (Shop.send, "a @task already"),
    ],
)
def test_only_functions_with_a_name_become_tasks(func: Any, says: str) -> None:
    with pytest.raises(BadJob, match=says):
        task(func)


def test_shield_is_refused_with_the_reason() -> None:
    with pytest.raises(BadJob, match="shield=.*nothing to shield"):
        task(shield=True)  # type: ignore[call-overload]  # the mistake under test


def test_an_option_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"no option retries; there are .*retry"):
        task(retries=3)  # type: ignore[call-overload]  # the mistake under test


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("queue", ""),
        ("queue", "two words"),
        ("queue", "x" * 101),
        ("queue", None),
        ("priority", 1001),
        ("priority", -1001),
        ("priority", 1.5),
        ("priority", True),
        ("retry", 3),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "5 s"),
        ("timeout", True),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("limit", 0),
        ("limit", 2.5),
        ("limit", True),
        ("rate", "100 a minute"),
        ("rate", "0/minute"),
        ("rate", "5/month"),
        ("rate", "5/0"),
        ("rate", 5),
        ("unique", 7),
        ("unique", ""),
        ("transactional", "yes"),
        ("executor", "thread"),
        ("on_error", print),
        ("on_discard", "report"),
        ("limit_key", "order"),
        ("cron", "every day"),
        ("cron", "61 * * * *"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_with_its_name(option: str, value: Any) -> None:
    with pytest.raises(BadJob, match="(?i)" + option.split("_key", maxsplit=1)[0]):
        task(**{option: value})(send)


@pytest.mark.parametrize("keep_s", [-1, "a week", float("nan"), True])
def test_a_keep_s_that_is_no_time_is_refused(keep_s: Any) -> None:
    with pytest.raises(BadJob, match="keep_s"):
        task(keep_s=keep_s)(send)


def test_a_limit_key_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(BadJob, match="custmer"):
        task(limit=1, limit_key="custmer")(send)


def test_unique_by_something_that_is_no_parameter_is_refused() -> None:
    with pytest.raises(BadJob, match="ordr"):
        task(unique=Unique(by=("ordr",)))(send)


def test_a_process_takes_plain_sync_functions_only() -> None:
    with pytest.raises(BadJob, match="is async"):
        task(executor="process")(send)

    with pytest.raises(BadJob, match="takes ctx"):
        task(executor="process")(with_context)

    def local(path: str) -> None: ...

    with pytest.raises(BadJob, match="inside a function"):
        task(executor="process")(local)


def test_a_cron_task_has_nobody_to_give_it_arguments() -> None:
    with pytest.raises(BadJob, match=r"'order'; give it a default"):
        task(cron="@daily")(send)

    @task(cron="@daily", timezone="Europe/Berlin", missed="latest")
    async def clean(ctx: Context, days: int = 7) -> None: ...

    assert clean.cron is not None


def test_a_time_zone_and_a_policy_that_do_not_exist_are_refused() -> None:
    def clean() -> None: ...

    with pytest.raises(BadJob, match="Atlantis"):
        task(cron="@daily", timezone="Europe/Atlantis")(clean)
    with pytest.raises(BadJob, match="missed"):
        task(cron="@daily", missed="some")(clean)  # type: ignore[call-overload]  # the mistake under test


def test_what_is_no_task_is_refused_with_the_remedy() -> None:
    def plain() -> None: ...

    with pytest.raises(BadJob, match=r"schedule\(\).*plain is not one: put @task above it"):
        require_task(plain, "schedule")
    with pytest.raises(BadJob, match="7 is not one"):
        require_task(7, "schedule")


def test_a_lambda_is_told_to_become_a_function() -> None:
    with pytest.raises(BadJob, match="give it a name with def"):
        require_task(lambda: None, "schedule")


def test_a_coroutine_is_a_call_too_early_and_is_not_left_unawaited() -> None:
    with pytest.raises(BadJob, match=r"called already.*schedule\(send, \.\.\.\)"):
        require_task(Shop.send(17), "schedule")


def test_queues_and_priorities_have_rules() -> None:
    assert require_queue("mail.fast-1_a") == "mail.fast-1_a"
    assert require_priority(1000) == 1000
    with pytest.raises(BadJob, match="100 at most"):
        require_queue("mail/fast")
    with pytest.raises(BadJob, match="-1000 to 1000"):
        require_priority("high")


# ---------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/minute", Rate(100, per_s=60)),
        ("1/second", Rate(1, per_s=1)),
        ("5/hour", Rate(5, per_s=3600)),
        ("9/day", Rate(9, per_s=86_400)),
        ("9/d", Rate(9, per_s=86_400)),
        (" 3 / 10 ", Rate(3, per_s=10)),
        ("3/0.5", Rate(3, per_s=0.5)),
    ],
)
def test_rates_are_read(text: str, rate: Rate) -> None:
    assert Rate.of(text) == rate
    assert Rate.of(rate) is rate


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "1"])
def test_a_rate_counts_whole_starts(count: Any) -> None:
    with pytest.raises(BadJob, match="count"):
        Rate(count)


@pytest.mark.parametrize("per_s", [0, -1, "1", float("nan")])
def test_a_rates_period_is_a_time(per_s: Any) -> None:
    with pytest.raises(BadJob, match="per_s"):
        Rate(1, per_s=per_s)


# ---------------------------------------------------------------------- what is the same job


def test_unique_takes_several_forms() -> None:
    assert Unique.of(None) is None
    assert Unique.of(False) is None
    assert Unique.of(True) == Unique()
    assert Unique.of("nightly") == Unique(key="nightly")
    assert Unique.of(unique := Unique(by=("a",))) is unique


@pytest.mark.parametrize(
    "options", [{"key": ""}, {"key": 7}, {"by": "order"}, {"period_s": 0}, {"period_s": -1}]
)
def test_a_unique_that_makes_no_sense_is_refused(options: Any) -> None:
    with pytest.raises(BadJob, match=next(iter(options))):
        Unique(**options)


def test_a_period_that_is_no_number_is_refused() -> None:
    with pytest.raises(BadJob, match="period_s"):
        Unique(period_s="an hour")  # type: ignore[arg-type]  # the mistake under test


def test_a_key_belongs_to_its_task() -> None:
    one = Unique(key="k").key_for("a", "{}")
    other = Unique(key="k").key_for("b", "{}")
    assert one.key != other.key


def test_arguments_make_the_key_whatever_their_order() -> None:
    def key(args: str, **options: Any) -> str:
        return Unique(**options).key_for("t", args).key

    assert key('{"a":1,"b":2}') == key('{"b": 2, "a": 1}')
    assert key('{"a":1}') != key('{"a":2}')
    assert key('{"a":1,"b":2}', by=("a",)) == key('{"a":1,"b":3}', by=("a",))
    assert key('{"a":1,"b":2}', by=("b",)) != key('{"a":1,"b":3}', by=("b",))


def test_a_key_is_held_while_unfinished_and_within_a_period_beyond() -> None:
    assert Unique().key_for("t", "{}").states == LIVE
    within = Unique(period_s=60).key_for("t", "{}")
    assert (within.states, within.period_s) == (LIVE | FINISHED, 60)
    only = frozenset({State.AVAILABLE})
    assert Unique(states=only).key_for("t", "{}").states == only


# ---------------------------------------------------------------------- what limits count over


def test_a_limit_key_is_a_parameters_value() -> None:
    @task(limit=1, limit_key="customer")
    async def pay(customer: str) -> None: ...

    assert pay.limit_key_of('{"customer":"ada"}') == "ada"


def test_a_limit_key_is_a_function_of_the_arguments() -> None:
    def by_first(order: int, copy: bool = False) -> str:
        return f"lane {order % 2} {copy}"

    @task(limit=1, limit_key=by_first)
    async def pay(order: int, copy: bool = False) -> None: ...

    assert pay.limit_key_of('{"order":3}') == "lane 1 False"


def test_a_limit_key_that_fails_says_whose_it_is() -> None:
    def broken(order: int) -> str:
        raise LookupError(order)

    @task(limit=1, limit_key=broken)
    async def pay(order: int) -> None: ...

    with pytest.raises(BadJob, match=r"limit_key= of .*pay failed.*LookupError"):
        pay.limit_key_of('{"order":3}')


def test_a_limit_key_that_was_left_out_counts_as_its_default() -> None:
    @task(limit=1, limit_key="customer")
    async def pay(customer: str = "anybody") -> None: ...

    assert pay.limit_key_of("{}") == pay.limit_key_of('{"customer":"anybody"}')


def test_decorated_methods_of_a_class_are_functions_when_static() -> None:
    class Shop:
        @staticmethod
        @task
        def close(day: str) -> str:
            return day

    assert isinstance(Shop.close, TaskFunction)
    assert Shop.close("monday") == "monday"


def test_decorating_needs_no_database_and_no_app() -> None:
    def plain(number: int) -> int:
        return number

    made: Callable[[int], int] = task(plain)
    assert made(3) == 3
