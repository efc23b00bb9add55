"""What each module says is public is there, sorted and complete."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import backstay

MODULES = sorted(
    ["backstay", *(each.name for each in pkgutil.walk_packages(backstay.__path__, "backstay."))]
)
DOORS = [
    "backstay",
    "backstay.appstate",
    "backstay.auth",
    "backstay.cache",
    "backstay.db",
    "backstay.events",
    "backstay.integration",
    "backstay.integration.page",
    "backstay.ledger",
    "backstay.limits",
    "backstay.pattern",
    "backstay.state",
    "backstay.tasks",
    "backstay.telemetry",
    "backstay.testing",
    "backstay.timezone",
    "backstay.viewset",
    "backstay.web",
    "backstay.widgets",
]


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_every_module_lists_its_public_names_sorted_and_once(module: ModuleType) -> None:
    names = module.__all__
    assert list(names) == sorted(set(names))


def test_every_public_name_is_there(module: ModuleType) -> None:
    for name in module.__all__:
        assert hasattr(module, name), name


def test_no_public_class_or_function_is_missing_from_the_list(module: ModuleType) -> None:
    defined = {
        name
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }
    assert defined <= set(module.__all__)


def test_every_module_says_what_it_is(module: ModuleType) -> None:
    assert inspect.getdoc(module)


@pytest.mark.parametrize("door", DOORS)
def test_everything_public_behind_a_door_is_documented(door: str) -> None:
    module = importlib.import_module(door)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{door}.{name}"


@pytest.mark.parametrize("door", DOORS)
def test_a_star_import_brings_exactly_the_public_names(door: str) -> None:
    brought: dict[str, object] = {}
    exec(f"from {door} import *", brought)
    del brought["__builtins__"]
    assert set(brought) == set(importlib.import_module(door).__all__)


def test_the_names_users_were_promised_are_behind_their_doors() -> None:
    promised = {
        "backstay": {"BackstayError", "Context", "current_context"},
        "backstay.appstate": {"DEBUG", "TIMEZONE"},
        "backstay.auth": {
            "ApiKeys",
            "BaseAuthJWT",
            "JWTVerifier",
            "Keyring",
            "Passwords",
            "SigningKey",
            "TokenVerifier",
            "VerifiedToken",
            "current_user",
            "jwt_auth",
            "require_roles",
            "require_scopes",
        },
        "backstay.cache": {"Cache", "add_cache", "cache_redis", "cached"},
        "backstay.db": {"AlembicEnv", "MainDatabaseManager", "OrmAsync", "add_database"},
        "backstay.events": {"Event", "Events", "Masking", "add_events"},
        "backstay.integration": {
            "ApiHTTP",
            "ApiKeyAuth",
            "BearerAuth",
            "EndpointsDeclaration",
            "HTTPCaching",
            "HTTPMethod",
            "IntegrationHTTP",
            "OAuth2ClientCredentials",
            "add_integrations",
            "generate_pydantic_models",
            "py2dantic",
            "sp",
        },
        "backstay.integration.page": {"add_docintegration", "document"},
        "backstay.ledger": {"Ledger"},
        "backstay.limits": {"RateLimit", "add_limits", "rate_limit"},
        "backstay.pattern": {"HealthCheck", "HealthcheckResponse", "base_pattern"},
        "backstay.state": {"State", "StateStore", "add_state"},
        "backstay.tasks": {
            "Cancel",
            "Discard",
            "Job",
            "Retry",
            "RetryLater",
            "Secret",
            "Snooze",
            "Task",
            "TaskConfig",
            "TaskErrorHandler",
            "Tasks",
            "add_tasks",
            "connect",
            "jobs_router",
            "task",
        },
        "backstay.telemetry": {"add_metrics", "add_telemetry", "grafana_dashboard"},
        "backstay.testing": {
            "BaseAuthJwtPytest",
            "FakeClock",
            "MockRules",
            "SettingTest",
            "apply_fixture_db",
            "assert_enqueued",
            "check_contract",
            "check_response_json",
            "client_auth_jwt",
            "drain",
            "patch_integration",
            "record_integration",
            "replay_integration",
            "running",
            "track_queries",
        },
        "backstay.viewset": {
            "AppOrm",
            "CursorPaginator",
            "DefaultPaginator",
            "FullViewSet",
            "GenericViewSet",
            "ViewSetBulk",
            "ViewSetCreate",
            "ViewSetDelete",
            "ViewSetList",
            "ViewSetRetrieve",
            "ViewSetUpdate",
            "action",
        },
        "backstay.timezone": {"TIMEZONE", "get_datetime_now"},
        "backstay.web": {
            "Ctx",
            "HTTPException400",
            "HTTPException401",
            "HTTPException403",
            "HTTPException404",
            "HTTPException409",
            "HTTPException422",
            "HTTPException429",
            "HTTPException503",
            "add_problem_details",
            "install",
        },
        "backstay.widgets": {
            "BaseWidget",
            "ClientContext",
            "ConfigDict",
            "Field",
            "UserContext",
            "ValidationError",
            "WidgetContext",
            "WidgetMCPServer",
            "auth_required",
            "no_auth",
            "optional_auth",
        },
    }
    assert sorted(promised) == DOORS
    for door, names in promised.items():
        assert names <= set(importlib.import_module(door).__all__), door


def test_the_version_is_one_that_packaging_understands() -> None:
    assert all(part.isdecimal() for part in backstay.__version__.split("."))
    assert len(backstay.__version__.split(".")) == 3
