"""The client of the fixture ``client``: one for each test, so that no header or cookie is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backstay.errors import MissingExtra
from backstay.jobs.part import DurablePart
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError
from backstay.web.installation import installed

try:
    from starlette.testclient import TestClient
except (ImportError, RuntimeError) as missing:  # Starlette's own way to miss its client
    raise MissingExtra("testing", "httpx2") from missing

__all__ = ["DatabaseClient", "new_client"]


class DatabaseClient(TestClient):
    """Starlette's ``TestClient``, which refuses to wait for a session of the test's own."""

    setting: SettingTest

    def send(self, *args: Any, **options: Any) -> Any:
        """As the client's, once what this thread has written is committed."""
        self.setting.require_committed()
        return super().send(*args, **options)


@contextmanager
def new_client(setting: SettingTest, running: TestClient | None = None) -> Iterator[DatabaseClient]:
    """A client of the app, which is started, and stopped at the end, unless it runs already.

    Args:
        setting: which app.
        running: the client that has started it. ``None``: nobody has.

    Raises:
        IsolationError: the app keeps durable tasks in the SQLite file that a test's transaction
            holds.
    """
    client = DatabaseClient(setting.app)
    client.setting = setting
    if running is not None:
        client.portal = running.portal
        client.app_state.update(running.app_state)
        try:
            yield client
        finally:
            client.close()
        return
    with client:
        _require_free_ledger(setting)
        yield client
        if client.portal is not None:
            # Async connections belong to the event loop that ends here.
            client.portal.call(setting.manager.dispose)


def _require_free_ledger(setting: SettingTest) -> None:
    if not setting.holds_sqlite or getattr(setting.app.state, "backstay", None) is None:
        return
    backstay = installed(setting.app)
    durable = backstay.part("durable") if backstay.has("durable") else None
    if isinstance(durable, DurablePart) and durable.is_open and durable.ledger.url != "memory://":
        raise IsolationError(
            "the app's durable tasks are in the SQLite file of the test, which its transaction "
            'keeps anybody else from writing to: use SettingTest(..., isolation="truncate"), or '
            '@pytest.mark.database_isolation("truncate") for this test'
        )
