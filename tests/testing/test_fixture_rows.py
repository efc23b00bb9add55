"""Rows are there before the function runs, readable in it, and gone with the test."""

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from backstay.testing.fixture_rows import apply_fixture_db, to_namedtuple
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError
from tests.support import async_test
from tests.testing.house import prepared_setting
from tests.testing.town import EITHER, Person, Pet, count


@pytest.fixture(params=EITHER)
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SettingTest]:
    with prepared_setting(request.param, tmp_path) as setting:
        yield setting
        setting.leave()
        assert count(setting.manager) == 0


def people() -> Any:
    ada = Person(name="Ada")
    return to_namedtuple(ada=ada, rex=Pet(name="Rex", owner=ada), bob=Person(name="Bob"))


def test_a_function_finds_its_rows_with_keys_defaults_and_relations(setting: SettingTest) -> None:
    @apply_fixture_db(people)
    def test(answer: int, fixtures: Any) -> int:
        assert count(setting.manager) == 2
        assert fixtures.ada.id
        assert fixtures.ada.mood == "calm"
        assert fixtures.rex.owner is fixtures.ada
        assert fixtures.rex.owner_id == fixtures.ada.id
        return answer

    assert test(7) == 7


def test_what_it_does_not_ask_for_it_is_not_given(setting: SettingTest) -> None:
    @apply_fixture_db(people)
    def test() -> int:
        return count(setting.manager)

    assert test() == 2


def test_its_signature_has_no_fixtures_since_pytest_would_look_for_them() -> None:
    @apply_fixture_db(people)
    def test(client: object, fixtures: Any, *, other: int = 3) -> None:
        """What it says."""

    assert list(inspect.signature(test).parameters) == ["client", "other"]
    assert test.__doc__ == "What it says."


def test_a_method_is_as_good_as_a_function(setting: SettingTest) -> None:
    class Several:
        @apply_fixture_db(people)
        def setUp(self, fixtures: Any) -> None:
            self.fixtures = fixtures

    several = Several()
    several.setUp()
    assert several.fixtures.bob.name == "Bob"


def test_a_generator_has_them_until_it_ends(setting: SettingTest) -> None:
    @apply_fixture_db(people, flush=True)
    def fixture(fixtures: Any) -> Iterator[str]:
        yield fixtures.ada.name

    generator = fixture()
    assert next(generator) == "Ada"
    assert count(setting.manager) == 2
    assert list(generator) == []
    assert count(setting.manager) == 0


@async_test
async def in_a_coroutine(setting: SettingTest) -> None:
    @apply_fixture_db(people, flush=True)
    async def test(fixtures: Any) -> str:
        async with setting.manager.asession() as session:
            found = await session.get(Person, fixtures.ada.id)
            assert found is not None
            return found.name

    assert await test() == "Ada"
    assert count(setting.manager) == 0


@async_test
async def in_an_async_generator(setting: SettingTest) -> None:
    @apply_fixture_db(people, flush=True)
    async def fixture(fixtures: Any) -> AsyncIterator[str]:
        yield fixtures.bob.name

    assert [name async for name in fixture()] == ["Bob"]
    assert count(setting.manager) == 0


def test_async_functions_and_generators_are_as_good(setting: SettingTest) -> None:
    in_a_coroutine(setting)
    in_an_async_generator(setting)


def test_several_may_be_applied_and_flushed_rows_may_be_gone_already(setting: SettingTest) -> None:
    def more() -> list[Any]:
        return [Person(name="Cid"), [Person(name="Dan")]]

    @apply_fixture_db(people, flush=True)
    @apply_fixture_db(more, flush=True)
    def test() -> int:
        with setting.manager.session.begin() as session:
            session.query(Person).filter(Person.name == "Cid").delete()
        return count(setting.manager)

    assert test() == 3
    assert count(setting.manager) == 0


def test_rows_may_come_from_a_generator(setting: SettingTest) -> None:
    def one_by_one() -> Iterator[Person]:
        yield Person(name="Ada")
        yield Person(name="Bob")

    @apply_fixture_db(one_by_one)
    def test(fixtures: Any) -> list[str]:
        return [each.name for each in fixtures]

    assert test() == ["Ada", "Bob"]


def test_rows_that_the_database_refuses_fail_the_test_and_leave_nothing(
    setting: SettingTest,
) -> None:
    def twins() -> list[Person]:
        return [Person(name="Ada"), Person(name="Ada")]

    @apply_fixture_db(twins)
    def test() -> None:
        raise AssertionError("never begun")

    with pytest.raises(IntegrityError):
        test()
    assert count(setting.manager) == 0


def test_without_settings_nobody_knows_the_database() -> None:
    @apply_fixture_db(people)
    def test() -> None: ...

    with pytest.raises(IsolationError, match=r"make SettingTest\(DatabaseManager, app\)"):
        test()
