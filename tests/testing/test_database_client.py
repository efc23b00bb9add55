"""A client of a test's own: nothing is left in it, and nobody waits for the test's own session."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backstay.db.manager import MainDatabaseManager
from backstay.tasks import add_tasks, task
from backstay.testing.database_client import new_client
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError
from backstay.web.dependencies import Ctx
from tests.jobs.desks import needs_postgres
from tests.testing.house import people_app, prepared_setting, scratch_url
from tests.testing.town import EITHER, Base, Person, count

either = pytest.mark.parametrize("kind", EITHER)
done: list[str] = []


@task(name="testing.note_person")
async def note_person(name: str) -> None:
    done.append(name)


@either
@pytest.mark.parametrize("isolation", ["rollback", "truncate"])
def test_requests_are_inside_the_test(kind: str, isolation: Any, tmp_path: Path) -> None:
    with prepared_setting(kind, tmp_path, isolation=isolation) as setting:
        for _ in range(2):
            setting.isolate()
            with new_client(setting) as client:
                assert client.get("/people").json() == []
                assert client.post("/people/Ada").status_code == 200
                assert client.post("/people/nobody").status_code == 422
                assert client.get("/people").json() == ["Ada"]
                assert client.get("/count").json() == 1
            setting.leave()


def test_no_header_is_left_for_the_next_one(tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path) as setting:
        setting.isolate()
        with new_client(setting) as client:
            client.headers["authorization"] = "Bearer ada"
            assert client.get("/who").json() == "Bearer ada"
        with new_client(setting) as client:
            assert client.get("/who").json() is None


def test_an_app_that_runs_already_is_not_started_again(tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path, lifespan="session") as setting:
        with new_client(setting) as running:
            for name in ("Ada", "Bob"):
                setting.isolate()
                with new_client(setting, running) as client:
                    assert client.portal is running.portal
                    assert client.post(f"/people/{name}").status_code == 200
                    assert client.get("/people").json() == [name]
                setting.leave()
            assert running.get("/people").json() == []


@either
def test_a_request_is_refused_while_the_tests_own_session_would_keep_it_waiting(
    kind: str, tmp_path: Path
) -> None:
    with prepared_setting(kind, tmp_path) as setting:
        setting.isolate()
        with new_client(setting) as client, setting.new_session() as session:
            session.add(Person(name="Ada"))
            session.flush()
            with pytest.raises(IsolationError, match="commit it before the request"):
                client.get("/people")
            session.commit()
            assert client.get("/people").json() == ["Ada"]


def test_an_app_that_would_wait_for_itself_fails_the_test_with_the_reason(tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path) as setting:

        @setting.app.post("/twice")
        async def twice(ctx: Ctx) -> None:
            ctx.db.session.add(Person(name="Ada"))
            await ctx.db.session.flush()
            await ctx.db.database.fetch(select(Person.name))

        setting.isolate()
        with new_client(setting) as client:
            with pytest.raises(IsolationError, match=r"same task.*INSERT INTO people"):
                client.post("/twice")
            assert client.get("/people").json() == []


def test_durable_tasks_in_the_file_that_a_transaction_holds_are_refused_with_the_way_out(
    tmp_path: Path,
) -> None:
    with scratch_url("sqlite", tmp_path) as url:
        app = people_app(MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}", base=Base))
        add_tasks(app, database=f"sqlite:///{tmp_path / 'real.db'}")
        setting = SettingTest(url, app)
        with setting.prepared():
            setting.isolate()
            with pytest.raises(IsolationError, match=r'isolation="truncate"'):
                with new_client(setting):
                    pass


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_durable_tasks_run_where_commits_are_real_and_are_gone_with_the_test(
    kind: str, tmp_path: Path
) -> None:
    done.clear()
    with scratch_url(kind, tmp_path) as url:
        manager = MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}", base=Base)
        app = people_app(manager)
        add_tasks(app, database=f"sqlite:///{tmp_path / 'real.db'}")

        @app.post("/noted/{name}")
        async def noted(name: str, ctx: Ctx) -> None:
            ctx.db.session.add(Person(name=name))
            ctx.tasks.durable.schedule(note_person, name)

        setting = SettingTest(url, app, isolation="truncate", keepdb=False)
        with setting.prepared():
            for _ in range(2):
                setting.isolate()
                with new_client(setting) as client:
                    assert client.post("/noted/Ada").status_code == 200
                    durable: Any = setting.app.state.backstay.part("job")
                    assert client.portal is not None
                    client.portal.call(durable.worker.settled)
                assert count(manager) == 1
                setting.leave()
            assert done == ["Ada", "Ada"]
    assert not (tmp_path / "real.db").exists()
