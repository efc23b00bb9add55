"""One URL becomes the right driver's for async code and for sync code."""

import pytest
from sqlalchemy.engine import make_url

from backstay.db import address as address_module
from backstay.db.address import Address, read_url, require_shared
from backstay.errors import MissingExtra


@pytest.mark.parametrize(
    ("url", "asynchronous", "sync"),
    [
        ("sqlite:///shop.db", "sqlite+aiosqlite:///shop.db", "sqlite+pysqlite:///shop.db"),
        (
            "sqlite+aiosqlite:///shop.db",
            "sqlite+aiosqlite:///shop.db",
            "sqlite+pysqlite:///shop.db",
        ),
        (
            "postgres://u:p@h/shop",
            "postgresql+asyncpg://u:p@h/shop",
            "postgresql+psycopg://u:p@h/shop",
        ),
        ("postgresql://u@h/shop", "postgresql+asyncpg://u@h/shop", "postgresql+psycopg://u@h/shop"),
        (
            "postgresql+asyncpg://h/shop",
            "postgresql+asyncpg://h/shop",
            "postgresql+psycopg://h/shop",
        ),
        (
            "postgresql+psycopg://h/shop",
            "postgresql+psycopg://h/shop",
            "postgresql+psycopg://h/shop",
        ),
    ],
)
def test_each_kind_of_code_gets_a_driver_that_fits(url: str, asynchronous: str, sync: str) -> None:
    def text(asynchronous: bool) -> str:
        return Address.of(url, asynchronous=asynchronous).url.render_as_string(hide_password=False)

    assert (text(asynchronous=True), text(asynchronous=False)) == (asynchronous, sync)


def test_a_driver_named_for_sync_code_is_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_module, "find_spec", lambda _: object())
    url = "postgresql+psycopg2://h/shop"
    assert Address.of(url, asynchronous=False).url.drivername == "postgresql+psycopg2"
    assert Address.of(url, asynchronous=True).url.drivername == "postgresql+asyncpg"


def test_the_next_best_driver_is_taken_where_the_best_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(address_module, "find_spec", lambda name: name == "psycopg" or None)
    url = Address.of("postgresql://h/shop", asynchronous=True).url
    assert url.drivername == "postgresql+psycopg"


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_module, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"'aiosqlite'.*backstay\[db\]"):
        Address.of("sqlite:///shop.db", asynchronous=True)


def test_options_of_libpq_are_translated_for_asyncpg() -> None:
    address = Address.of(
        "postgresql://h/shop?sslmode=require&connect_timeout=5&application_name=shop"
        "&options=-c%20search_path%3Dsales%20-c%20statement_timeout%3D500",
        asynchronous=True,
    )
    assert dict(address.url.query) == {"ssl": "require"}
    assert address.connect_args == {
        "timeout": 5.0,
        "server_settings": {
            "application_name": "shop",
            "search_path": "sales",
            "statement_timeout": "500",
        },
    }


@pytest.mark.parametrize(("ssl", "mode"), [("true", "require"), ("verify-full", "verify-full")])
def test_asyncpgs_ssl_is_translated_for_libpq(ssl: str, mode: str) -> None:
    address = Address.of(f"postgresql+asyncpg://h/shop?ssl={ssl}&target=x", asynchronous=False)
    assert dict(address.url.query) == {"sslmode": mode, "target": "x"}


@pytest.mark.parametrize("wrong", ["shop.db", "", "sqlite"])
def test_what_is_no_url_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match='is no database URL; use "sqlite:///file.db"'):
        read_url(wrong)


def test_an_unknown_database_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="knows no database 'mongodb'") as caught:
        read_url("mongodb://user:secret@h/shop")
    assert "secret" not in str(caught.value)


def test_a_driver_of_another_database_is_used_only_where_it_fits() -> None:
    url = "mysql+asyncmy://h/shop"
    with pytest.raises(ValueError, match="'mysql\\+asyncmy' is no driver for sync code"):
        Address.of(url, asynchronous=False)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite+aiosqlite://",
        "sqlite:///file:shop?mode=memory&cache=shared&uri=true",
        "sqlite:///file::memory:?cache=shared&uri=true",
    ],
)
def test_a_database_in_memory_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(ValueError, match="every connection would have a database of its own"):
        require_shared(make_url(url))


@pytest.mark.parametrize(
    "url", ["sqlite:///shop.db", "sqlite:///file:shop.db?mode=ro&uri=true", "postgresql://h"]
)
def test_any_other_is_fine(url: str) -> None:
    require_shared(make_url(url))
