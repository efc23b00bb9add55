"""GET through a view set."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from backstay.context import Context
from backstay.testing.queries import track_queries
from backstay.viewset import CursorPaginator, DefaultPaginator, FullViewSet
from tests.support import async_test
from tests.viewset.stage import Order, OrderRow, Thing, ThingRow, both, serving


class Things(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing
    max_limit = 50
    filter_fields: ClassVar = {"price": ["eq", "gte", "lte"], "name": ["icontains"]}
    search_fields = ("name",)
    ordering_fields = ("price", "name")


class Paged(Things):
    paginator_class = DefaultPaginator


class Walked(Things):
    paginator_class = CursorPaginator


async def fill(client: Any, number: int = 7) -> None:
    async with client.manager.asession() as session, session.begin():
        session.add_all(
            ThingRow(name=f"thing {index}", price=index % 3, owner="ada" if index % 2 else "bob")
            for index in range(1, number + 1)
        )


def ids(items: list[dict[str, Any]]) -> list[int]:
    return [each["id"] for each in items]


@both
@async_test
async def test_a_list_has_an_order_and_only_the_schemas_columns(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await fill(client)
        answer = await client.get("/things")
        assert ids(answer.json()) == [1, 2, 3, 4, 5, 6, 7]
        assert set(answer.json()[0]) == {"id", "name", "price"}
        assert "s3cret" not in answer.text


@both
@async_test
async def test_skip_and_limit_are_bounded(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await fill(client)
        assert ids((await client.get("/things?skip=2&limit=3")).json()) == [3, 4, 5]
        for query in ("skip=-1", "limit=0", "limit=51", "limit=x", f"skip={2**70}"):
            assert (await client.get(f"/things?{query}")).status_code == 422, query


@both
@async_test
async def test_pages_count_all_rows_that_match(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Paged, "/things")) as client:
        await fill(client)
        page = (await client.get("/things?page=2&size=3")).json()
        assert (page["page"], page["size"], page["count"], ids(page["items"])) == (
            2,
            3,
            7,
            [4, 5, 6],
        )
        assert set(page["items"][0]) == {"id", "name", "price"}
        page = (await client.get("/things?price=1&size=2")).json()
        assert (page["count"], ids(page["items"])) == (3, [1, 4])
        beyond = (await client.get("/things?page=9&size=3")).json()
        assert (beyond["count"], beyond["items"]) == (7, [])


@both
@async_test
async def test_cursors_walk_through_all_rows_once(database: str, tmp_path: Path) -> None:
    async with serving(
        database,
        tmp_path,
        (Walked, "/things"),
        settings={"BACKSTAY_SECRET_KEY": "a key that is long enough for anybody"},
    ) as client:
        await fill(client)
        seen: list[int] = []
        query = "?sort=-price&size=2"
        for _ in range(4):
            page = (await client.get(f"/things{query}")).json()
            seen += ids(page["items"])
            if page["next"] is None:
                break
            query = f"?sort=-price&size=2&cursor={page['next']}"
        assert seen == [5, 2, 7, 4, 1, 6, 3]


@both
@async_test
async def test_filters_search_and_order_go_by_their_lists(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await fill(client)
        assert ids((await client.get("/things?price__gte=1&price__lte=1")).json()) == [1, 4, 7]
        assert ids((await client.get("/things?name__icontains=ING+3")).json()) == [3]
        assert ids((await client.get("/things?search=thing+5")).json()) == [5]
        assert ids((await client.get("/things?sort=-price,name&limit=3")).json()) == [2, 5, 1]
        for query in ("price__like=1", "sort=secret", "owner__eq=ada", "price=x"):
            answer = await client.get(f"/things?{query}")
            assert answer.status_code == 422, query
            assert answer.headers["content-type"] == "application/problem+json"
        assert len((await client.get("/things?utm_source=letter")).json()) == 7


class Own(Things):
    async def visible(self, ctx: Context) -> Any:
        return ThingRow.owner == (ctx.user.subject if ctx.user else "")


class OwnPaged(Own):
    paginator_class = DefaultPaginator


@both
@async_test
async def test_what_is_not_visible_is_not_there_and_not_counted(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Own, "/things"), (OwnPaged, "/pages")) as client:
        await fill(client)
        bob = {"x-user": "bob"}
        assert ids((await client.get("/things", headers=bob)).json()) == [2, 4, 6]
        assert (await client.get("/pages", headers=bob)).json()["count"] == 3
        assert (await client.get("/things/1", headers=bob)).status_code == 404
        assert (await client.get("/things/2", headers=bob)).status_code == 200


@both
@async_test
async def test_what_is_not_there_is_a_404(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        answer = await client.get("/things/1")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "There is no thing 1."
        for path in (f"/things/{2**62}", f"/things/{2**70}", "/things/x"):
            assert (await client.get(path)).status_code in {404, 422}, path


class Orders(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    deep_schema = True
    paginator_class = DefaultPaginator


@both
@async_test
async def test_nested_items_are_loaded_whole_in_a_fixed_number_of_statements(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Orders, "/orders")) as client:
        counts = []
        for number in (1, 5):
            for index in range(number):
                new = {
                    "customer": {"email": f"{number}.{index}@example.com"},
                    "lines": [{"sku": "cup", "quantity": 1}, {"sku": "pot", "quantity": 2}],
                    "tags": [{"name": "gift"}],
                }
                assert (await client.post("/orders", json=new)).status_code == 201
            with track_queries(client.manager, max_repeats=1) as statements:
                page = (await client.get("/orders?size=50")).json()
            counts.append(statements.count)
            assert all(len(each["lines"]) == 2 for each in page["items"])
            assert "password_hash" not in page["items"][0]["customer"]
        assert counts[0] == counts[1]


@pytest.mark.parametrize("paginator", [None, DefaultPaginator])
@async_test
async def test_the_documentation_shows_what_is_answered(paginator: Any, tmp_path: Path) -> None:
    view = type("Shown", (Things,), {"paginator_class": paginator, "__doc__": "Things."})
    async with serving("sqlite", tmp_path, (view, "/things")) as client:
        spec = (await client.get("/openapi.json")).json()
        listing = spec["paths"]["/things"]["get"]
        assert listing["operationId"] == "list_things"
        assert {"price__gte", "search", "sort"} <= {each["name"] for each in listing["parameters"]}
        schema = listing["responses"]["200"]["content"]["application/json"]["schema"]
        assert "Thing" in str(schema if paginator is None else spec["components"]["schemas"])
