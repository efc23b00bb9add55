"""For tests of services built on backstay, and for its own: no test has to sleep.

May know every door. Nothing else may import it. What needs a database, or pytest, is loaded when
it is asked for; ``from backstay.testing import *`` in a ``conftest.py`` brings pytest's fixtures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backstay.testing.base_pytest import BasePytest
from backstay.testing.durable import assert_enqueued, assert_not_enqueued, drain, enqueued
from backstay.testing.fake_clock import FakeClock
from backstay.testing.json_answers import check_response_json, rm_key_from_deep_dict
from backstay.testing.running_app import RunningApp, running

if TYPE_CHECKING:
    from backstay.testing.auth_client import BaseAuthJwtPytest, client_auth_jwt
    from backstay.testing.fixture_rows import apply_fixture_db, to_namedtuple
    from backstay.testing.integrations.answer import Answer, Answers, answers
    from backstay.testing.integrations.contract import check_contract, check_live
    from backstay.testing.integrations.patch import patch_integration
    from backstay.testing.integrations.rules import MockedCall, MockRules
    from backstay.testing.integrations.tape import Tape
    from backstay.testing.integrations.tapes import record_integration, replay_integration, tape
    from backstay.testing.pytest_plugin import (
        aengine,
        client,
        database_isolation,
        db_manager,
        db_session,
        engine,
        prepared_database,
        pytest_configure,
        setting_test,
        started_app,
        test_app,
        url_path_for,
    )
    from backstay.testing.queries import track_queries
    from backstay.testing.setting import SettingTest
    from backstay.testing.write_turn import IsolationError

__all__ = [
    "Answer",
    "Answers",
    "BaseAuthJwtPytest",
    "BasePytest",
    "FakeClock",
    "IsolationError",
    "MockRules",
    "MockedCall",
    "RunningApp",
    "SettingTest",
    "Tape",
    "aengine",
    "answers",
    "apply_fixture_db",
    "assert_enqueued",
    "assert_not_enqueued",
    "check_contract",
    "check_live",
    "check_response_json",
    "client",
    "client_auth_jwt",
    "database_isolation",
    "db_manager",
    "db_session",
    "drain",
    "engine",
    "enqueued",
    "patch_integration",
    "prepared_database",
    "pytest_configure",
    "record_integration",
    "replay_integration",
    "rm_key_from_deep_dict",
    "running",
    "setting_test",
    "started_app",
    "tape",
    "test_app",
    "to_namedtuple",
    "track_queries",
    "url_path_for",
]

_ELSEWHERE = {
    "Answer": "integrations.answer",
    "Answers": "integrations.answer",
    "BaseAuthJwtPytest": "auth_client",
    "IsolationError": "write_turn",
    "MockRules": "integrations.rules",
    "MockedCall": "integrations.rules",
    "SettingTest": "setting",
    "Tape": "integrations.tape",
    "answers": "integrations.answer",
    "apply_fixture_db": "fixture_rows",
    "check_contract": "integrations.contract",
    "check_live": "integrations.contract",
    "client_auth_jwt": "auth_client",
    "patch_integration": "integrations.patch",
    "record_integration": "integrations.tapes",
    "replay_integration": "integrations.tapes",
    "tape": "integrations.tapes",
    "to_namedtuple": "fixture_rows",
    "track_queries": "queries",
}
"""Where what needs an extra of its own is; the rest are pytest's fixtures."""


def __getattr__(name: str) -> Any:
    # Only apps with a database have SQLAlchemy, and only tests under pytest have that.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"backstay.testing.{_ELSEWHERE.get(name, 'pytest_plugin')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return [*__all__]
