"""From a URL to a server."""

import pytest

from backstay.ledger.postgres_address import Address


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"]
)
def test_the_driver_in_a_url_does_not_matter(scheme: str) -> None:
    address = Address.of(f"{scheme}://anna@db.example.org:6543/shop")
    assert address.options == {
        "user": "anna",
        "database": "shop",
        "host": "db.example.org",
        "port": 6543,
    }
    assert address.shown == "postgresql://anna@db.example.org:6543/shop"
    assert address.place == "db.example.org:6543/shop"


def test_a_password_is_unquoted_and_never_shown() -> None:
    address = Address.of("postgresql://an%40na:p%40ss%2Fw%3Ard%25@db/shop")
    assert address.options["user"] == "an@na"
    assert address.options["password"] == "p@ss/w:rd%"
    assert address.shown == "postgresql://an%40na@db/shop"
    assert "p@ss" not in repr(address)
    assert "ss%2F" not in repr(address)


def test_a_password_in_the_query_is_never_shown() -> None:
    address = Address.of("postgresql://db/shop?password=secret&sslpassword=hidden&user=anna")
    assert address.options["password"] == "secret"
    assert address.options["user"] == "anna"
    assert "secret" not in address.shown
    assert "hidden" not in address.shown


def test_a_directory_of_sockets_is_a_host() -> None:
    address = Address.of("postgresql://anna@/shop?host=/var/run/postgresql")
    assert address.options["host"] == "/var/run/postgresql"
    assert "port" not in address.options
    assert address.place == "/var/run/postgresql/shop"
    assert address.shown == "postgresql://anna@/shop?host=/var/run/postgresql"


def test_several_hosts_have_several_ports() -> None:
    address = Address.of("postgresql://anna@/shop?host=one:1111&host=two:2222")
    assert address.options["host"] == ["one", "two"]
    assert address.options["port"] == [1111, 2222]
    address = Address.of("postgresql://anna@/shop?host=one,two&port=1111,2222")
    assert address.options["host"] == ["one", "two"]
    assert address.options["port"] == [1111, 2222]


def test_an_ipv6_address_is_a_host() -> None:
    address = Address.of("postgresql://anna@[::1]:6543/shop")
    assert (address.options["host"], address.options["port"]) == ("::1", 6543)
    assert "port" not in Address.of("postgresql://anna@[::1]/shop").options


def test_nothing_named_is_left_to_the_driver() -> None:
    address = Address.of("postgresql://")
    assert address.options == {}
    assert address.place == "the default socket"


def test_options_of_libpq_reach_asyncpg_and_others_are_ignored() -> None:
    address = Address.of(
        "postgresql+psycopg://db/shop?sslmode=require&sslrootcert=/ca.pem&async_fallback=true"
        "&prepare_threshold=5"
    )
    assert address.options["dsn"] == "postgresql://?sslmode=require&sslrootcert=%2Fca.pem"


@pytest.mark.parametrize(
    ("ssl", "sslmode"), [("require", "require"), ("true", "require"), ("false", "disable")]
)
def test_sqlalchemys_ssl_for_asyncpg_is_an_sslmode(ssl: str, sslmode: str) -> None:
    address = Address.of(f"postgresql+asyncpg://db/shop?ssl={ssl}")
    assert address.options["dsn"] == f"postgresql://?sslmode={sslmode}"


@pytest.mark.parametrize(
    "option", ["pgbouncer=true", "statement_cache_size=0", "prepared_statement_cache_size=0"]
)
def test_a_pooler_in_between_can_be_named(option: str) -> None:
    assert Address.of(f"postgresql://db/shop?{option}").pooled
    assert not Address.of("postgresql://db/shop?statement_cache_size=100").pooled


def test_a_timeout_for_connecting_counts_if_it_is_one() -> None:
    assert Address.of("postgresql://db?connect_timeout=3").connect_timeout_s == 3
    assert Address.of("postgresql://db?connect_timeout=0").connect_timeout_s is None
    assert Address.of("postgresql://db?connect_timeout=soon").connect_timeout_s is None


def test_an_application_may_have_a_name() -> None:
    assert Address.of("postgresql://db?application_name=shop").application == "shop"
    assert Address.of("postgresql://db").application == "backstay"
