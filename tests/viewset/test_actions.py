"""``@action``: which methods are routes, and of what kind."""

import pytest

from backstay.viewset.actions import Action, action, actions_of


class Base:
    @action(detail=True)
    async def publish(self, item_id: int) -> None: ...

    @action(detail=False, methods=["get"], path="top", summary="The best")
    async def best_of_all(self) -> None: ...


class Silent(Base):
    async def publish(self, item_id: int) -> None: ...


class Louder(Base):
    @action(detail=True, methods=["PUT"])
    async def publish(self, item_id: int) -> None: ...

    @action(detail=False)
    async def shout_out(self) -> None: ...


def test_actions_come_in_the_order_they_are_written() -> None:
    assert actions_of(Base()) == [
        ("publish", Action(True, ("POST",), "publish")),
        ("best_of_all", Action(False, ("GET",), "top", {"summary": "The best"})),
    ]


def test_the_address_is_the_name_with_hyphens() -> None:
    assert dict(actions_of(Louder()))["shout_out"].path == "shout-out"


def test_a_subclass_may_take_an_action_away_by_an_unmarked_method() -> None:
    assert [name for name, _ in actions_of(Silent())] == ["best_of_all"]


def test_a_subclass_may_mark_an_action_in_its_own_way() -> None:
    assert dict(actions_of(Louder()))["publish"].methods == ("PUT",)


@pytest.mark.parametrize("methods", ["GET", [], ()], ids=str)
def test_methods_are_a_list(methods: list[str]) -> None:
    with pytest.raises(ValueError, match="methods="):
        action(detail=True, methods=methods)


@pytest.mark.parametrize("path", ["", "/publish"])
def test_a_path_is_the_last_part_only(path: str) -> None:
    with pytest.raises(ValueError, match="path="):
        action(detail=True, path=path)
