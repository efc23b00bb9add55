"""An integration has a name and documents what is declared of it."""

from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration import ApiHTTP, HTTPMethod, IntegrationHTTP


def test_its_documentation_is_as_it_always_was() -> None:
    integration = IntegrationHTTP("Names", doc="Knows names.")

    async def get(api: ApiHTTP, a: int, p: str, i: "list[int]") -> dict[str, Any]:
        """Gets one."""
        return await api.send()

    integration.endpoint(HTTPMethod.get, "/x", version="v1", docurl="https://docs")(get)
    assert integration.docs == {
        "name": "IntegrationHTTP",
        "docstring": "Knows names.",
        "methods": [
            {
                "name": "get",
                "docstring": "Gets one.",
                "annotations": {
                    "a": "int",
                    "p": "str",
                    "i": "list[int]",
                    "return": "dict[str, typing.Any]",
                },
                "path": "/x",
                "httpmethod": HTTPMethod.get,
                "version": "v1",
                "docurl": "https://docs",
            }
        ],
    }


@pytest.mark.parametrize("name", ["", "  ", None])
def test_one_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(BadIntegration, match="name"):
        IntegrationHTTP(name)


def test_options_that_make_no_sense_are_refused() -> None:
    integration = IntegrationHTTP("Names")
    with pytest.raises(BadIntegration, match="HTTPMethod"):
        integration.endpoint("FETCH", "/")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(BadIntegration, match="handled"):
        integration.endpoint(HTTPMethod.get, "/", handled=[200])


def test_a_methods_name_will_do() -> None:
    integration = IntegrationHTTP("Names")

    async def get(api: ApiHTTP) -> int:
        return await api.send()

    integration.endpoint("GET", "/")(get)  # type: ignore[arg-type]  # it is a str, too
    assert integration.docs["methods"][0]["httpmethod"] is HTTPMethod.get
