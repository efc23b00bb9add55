"""Where settings come from, and that they give no secret away."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, computed_field
from pydantic_settings import BaseSettings

from backstay.errors import SettingMissing
from backstay.settings import Settings

NAMES = st.sampled_from(["A", "B", "C", "D"])
SOURCE = st.dictionaries(NAMES, st.text(max_size=3))


class Model(BaseSettings):
    database_url: str = "sqlite://"
    API_KEY: SecretStr = SecretStr("hush")
    workers: int = 3

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def pool_size(self) -> int:
        return self.workers * 2


@hypothesis_settings(deadline=None)
@given(explicit=SOURCE, environ=SOURCE, fallback=SOURCE, name=NAMES)
def test_what_was_given_wins_over_the_environment_and_that_over_the_file(
    explicit: dict[str, str], environ: dict[str, str], fallback: dict[str, str], name: str
) -> None:
    settings = Settings(explicit, environ=environ, fallback=lambda: fallback)
    found = [source[name] for source in (explicit, environ, fallback) if name in source]
    assert settings.get(name, "nothing") == (found[0] if found else "nothing")
    assert (name in settings) == bool(found)
    if found:
        assert settings[name] == settings.require(name) == found[0]
    else:
        with pytest.raises(SettingMissing):
            settings.require(name)


def test_the_file_is_read_once_and_only_when_needed() -> None:
    reads: list[int] = []

    def read() -> Mapping[str, str]:
        reads.append(1)
        return {"IN_FILE": "yes"}

    settings = Settings({"GIVEN": 1}, environ={"SET": "2"}, fallback=read)
    assert (settings.get("GIVEN"), settings.get("SET")) == (1, "2")
    assert reads == []
    assert settings.get("IN_FILE") == "yes"
    assert settings.get("NOWHERE") is None
    assert reads == [1]


def test_the_environment_is_read_afresh_at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    monkeypatch.delenv("BACKSTAY_TEST_SETTING", raising=False)
    assert settings.get("BACKSTAY_TEST_SETTING") is None
    monkeypatch.setenv("BACKSTAY_TEST_SETTING", "now")
    assert settings.get("BACKSTAY_TEST_SETTING") == "now"


def test_given_values_keep_their_types() -> None:
    hosts = ["a", "b"]
    assert Settings({"HOSTS": hosts, "DEBUG": False}, environ={"DEBUG": "1"}).get("HOSTS") is hosts
    assert Settings({"DEBUG": False}, environ={"DEBUG": "1"}).get("DEBUG") is False


def test_a_missing_setting_says_its_name_and_where_to_put_it() -> None:
    with pytest.raises(SettingMissing) as caught:
        Settings(environ={}).require("DATABASE_URL")
    for part in ("'DATABASE_URL'", "settings=", "environment", ".env"):
        assert part in str(caught.value)


def test_a_missing_setting_is_a_missing_key() -> None:
    with pytest.raises(KeyError):
        Settings(environ={})["DATABASE_URL"]


def test_a_model_is_the_only_source(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(Model(), environ={"OTHER": "x"}, fallback=lambda: {"MORE": "y"})
    assert settings.get("workers") == 3
    assert settings.get("OTHER") is None
    assert settings.get("MORE") is None
    assert "OTHER" not in settings
    monkeypatch.setenv("WORKERS", "9")
    assert settings.get("workers") == 3, "the model has read the environment by its own rules"


@pytest.mark.parametrize("name", ["database_url", "DATABASE_URL", "Database_Url"])
def test_the_fields_of_a_model_are_found_whatever_their_case(name: str) -> None:
    assert Settings(Model(database_url="postgres://")).require(name) == "postgres://"
    assert name in Settings(Model())


def test_computed_fields_of_a_model_are_settings_too() -> None:
    assert Settings(Model(workers=4)).get("POOL_SIZE") == 8


@dataclass
class Plain:
    database_url: str
    _private: str = "no"


@pytest.mark.parametrize(
    "model", [Plain("sqlite://"), SimpleNamespace(database_url="sqlite://", _private="no")]
)
def test_any_object_with_attributes_will_do_as_a_model(model: object) -> None:
    settings = Settings(model)
    assert settings.get("DATABASE_URL") == "sqlite://"
    assert settings.get("_private") is None


@pytest.mark.parametrize("settings", [Settings(Model()), Settings({"API_KEY": SecretStr("hush")})])
def test_whoever_asks_for_a_secret_by_name_gets_the_secret(settings: Settings) -> None:
    assert settings.get("API_KEY") == "hush"
    assert settings["API_KEY"] == "hush"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(
            {"KEY": "hush"}, environ={"ENV_KEY": "hush"}, fallback=lambda: {"FILE_KEY": "hush"}
        ),
        Settings(Plain("hush")),
        Settings(Model()),
    ],
)
def test_neither_repr_nor_str_shows_a_value(settings: Settings) -> None:
    settings.get("FILE_KEY")
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_there_is_no_way_to_change_a_setting() -> None:
    settings: Any = Settings({"A": 1})
    with pytest.raises(TypeError):
        settings["A"] = 2


def test_a_default_counts_only_where_no_source_has_a_value() -> None:
    settings = Settings({"GIVEN": "given"}, environ={"FOUND": "found"})
    for name in ("GIVEN", "FOUND", "NEITHER"):
        settings.set_default(name, "default")
    assert [settings[name] for name in ("GIVEN", "FOUND", "NEITHER")] == [
        "given",
        "found",
        "default",
    ]
    assert "NEITHER" in settings
    assert "OTHER" not in settings


def test_a_model_without_the_field_leaves_it_to_the_default() -> None:
    class Model:
        given = 1

    settings = Settings(Model())
    settings.set_default("BACKSTAY_SECRET_KEY", "default")
    assert settings["BACKSTAY_SECRET_KEY"] == "default"


def get_settings() -> Model:
    return Model()


@pytest.mark.parametrize(
    "nothing",
    [
        *(5, 1.5, True, "postgresql://shop:hush@db", b"x", [], ("a", "b"), {"a"}, object()),
        *(Path(".env"), get_settings, lru_cache(get_settings), Model, iter(())),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_can_hold_no_settings_is_refused_without_showing_it(nothing: object) -> None:
    with pytest.raises(TypeError, match="settings= has values by name, and got") as caught:
        Settings(nothing)
    assert "hush" not in str(caught.value)


class Bare:
    workers = 3


class Named(NamedTuple):
    workers: int = 3


@pytest.mark.parametrize(
    "given", [Bare, Bare(), Named(), SimpleNamespace(workers=3), Model(), {"WORKERS": 3}]
)
def test_whatever_has_attributes_or_keys_can_hold_settings(given: object) -> None:
    assert Settings(given, environ={}).get("WORKERS") == 3


def test_a_module_can_hold_settings() -> None:
    module = ModuleType("configuration")
    module.__dict__["WORKERS"] = 3
    assert Settings(module).get("WORKERS") == 3
