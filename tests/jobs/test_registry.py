"""Which task a row means: found in loaded modules, by name or alias, one for each name."""

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadJob
from backstay.jobs.part import DurablePart
from backstay.jobs.registry import Registry
from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import NewJob
from backstay.tasks import State, TaskFunction, add_tasks, task
from backstay.testing import running
from tests.support import async_test

Load = Callable[..., types.ModuleType]

SOURCE = """
from backstay.tasks import task

@task{options}
async def send(order: int) -> int:
    return {returns}
"""


@pytest.fixture
def load() -> Iterator[Load]:
    """Load a module as an import does, or load it again."""
    loaded: set[str] = set()

    def load(name: str, source: str = SOURCE, *, options: str = "", returns: str = "order") -> Any:
        module = sys.modules.get(name) or types.ModuleType(name)
        module.__file__ = f"/srv/{name}.py"
        code = compile(source.format(options=options, returns=returns), module.__file__, "exec")
        sys.modules[name] = module
        loaded.add(name)
        exec(code, vars(module))
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


def make(name: str, *aliases: str) -> TaskFunction[..., ..., Any]:
    def func() -> None: ...

    return task(name=name, aliases=aliases)(func)


def test_tasks_of_loaded_modules_are_found_by_name(load: Load) -> None:
    module = load("tests_registry_shop")
    registry = Registry()
    assert len(registry) == 0
    assert registry.find("tests_registry_shop.send") is module.send
    assert module.send in list(registry)


def test_a_module_that_is_loaded_later_is_found_when_a_row_names_it(load: Load) -> None:
    registry = Registry()
    registry.scan()
    assert registry.find("tests_registry_late.send") is None
    module = load("tests_registry_late")
    assert registry.find("tests_registry_late.send") is module.send


def test_what_is_scheduled_is_known_wherever_it_was_made() -> None:
    registry, local = Registry(), make("local")
    registry.add(local)
    registry.add(local)
    assert registry.find("local") is local
    assert len(registry) == 1


def test_a_task_is_known_by_its_former_names() -> None:
    registry, renamed = Registry(), make("new", "old", "older")
    registry.add(renamed)
    assert registry.find("old") is renamed
    assert registry.find("older") is renamed
    assert registry.find("oldest") is None


def test_two_tasks_with_one_name_are_refused_with_both_places() -> None:
    def other() -> None: ...

    registry = Registry()
    registry.add(make("pay"))
    with pytest.raises(BadJob, match=r"two tasks are called 'pay': .*make.*and .*other.*name="):
        registry.add(task(name="pay")(other))


def test_two_tasks_with_one_alias_are_refused() -> None:
    def other() -> None: ...

    registry = Registry()
    registry.add(make("pay", "charge"))
    with pytest.raises(BadJob, match="'charge' would belong to both pay and .*other"):
        registry.add(task(aliases=["charge"])(other))


@pytest.mark.parametrize("alias_first", [False, True])
def test_an_alias_that_is_another_tasks_name_is_refused(alias_first: bool) -> None:
    def other() -> None: ...

    both = [make("charge"), task(aliases=["charge"])(other)]
    first, second = reversed(both) if alias_first else both
    registry = Registry()
    registry.add(first)
    with pytest.raises(BadJob, match="charge"):
        registry.add(second)


def test_a_module_loaded_again_replaces_its_tasks(load: Load) -> None:
    module = load("tests_registry_again", options='(aliases=["tests_registry_old"])')
    registry = Registry()
    registry.scan()
    before = module.send
    load("tests_registry_again", options='(aliases=["tests_registry_old"])')
    registry.scan()
    assert module.send is not before
    assert registry.find("tests_registry_again.send") is module.send
    assert registry.find("tests_registry_old") is module.send


def test_a_module_edited_and_loaded_again_replaces_its_tasks(load: Load) -> None:
    module = load("tests_registry_edited")
    registry = Registry()
    registry.scan()
    load("tests_registry_edited", "\n# a line more\n" + SOURCE)
    registry.scan()
    assert registry.find("tests_registry_edited.send") is module.send


def test_handlers_are_known_with_their_task() -> None:
    told = make("told")

    def pay() -> None: ...

    registry = Registry()
    registry.add(task(on_error=told, on_discard=told)(pay))
    assert registry.find("told") is told


def test_queues_are_those_of_known_tasks() -> None:
    def pay() -> None: ...

    registry = Registry()
    registry.add(task(queue="money")(pay))
    assert registry.queues == {"money"}


def test_modules_that_are_no_ordinary_modules_are_passed_over() -> None:
    class Odd:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]  # odd on purpose
            return {}

    sys.modules["tests_registry_odd"] = Odd()  # type: ignore[assignment]  # the like is found in the wild
    sys.modules["tests_registry_none"] = None  # type: ignore[assignment]  # so imports are blocked
    try:
        Registry().scan()
    finally:
        del sys.modules["tests_registry_odd"], sys.modules["tests_registry_none"]


@async_test
async def test_a_row_of_a_module_that_is_not_imported_yet_runs_when_it_is() -> None:
    app = FastAPI()
    add_tasks(app, database="memory://")
    async with running(app) as client:
        part = client.ctx.app.part("durable")
        assert isinstance(part, DurablePart)
        new = NewJob(new_job_id(), "tests_registry_imported.send", '{"order":17}')
        module = types.ModuleType("tests_registry_imported")
        sys.modules[module.__name__] = module
        try:
            exec(SOURCE.format(options="", returns="order"), vars(module))
            await part.ledger.insert([new])
            assert (await client.durable.job(new.id).wait()).result == 17
        finally:
            del sys.modules[module.__name__]


def test_a_name_that_two_modules_claim_does_not_keep_jobs_from_running(load: Load) -> None:
    """A name taken twice in modules loaded later is one task's trouble, and not that of all."""

    @async_test
    async def check() -> None:
        @task
        async def fine(number: int) -> int:
            return number

        app = FastAPI()
        add_tasks(app, database="memory://", worker=False)
        async with running(app) as client:
            jobs = [await client.durable.enqueue(fine, each) for each in range(3)]
            part = client.ctx.app.part("durable")
            assert isinstance(part, DurablePart)
            stranger = NewJob(new_job_id(), "nobody.knows", priority=1000)
            await part.ledger.insert([stranger])
            load("tests_registry_one", options='(name="tests.twice")')
            load("tests_registry_two", options='(name="tests.twice")')
            await client.drain()
            assert [(await job.status()).state for job in jobs] == [State.SUCCEEDED] * 3

    check()
