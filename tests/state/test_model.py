"""Whatever is done in whatever order, each store does what a dict of dicts would."""

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.state import State, open_store
from tests.state.stores import any_url

# Characters that separate, escape, end or match something somewhere, and what is no text at all.
NAMES = st.text(
    st.sampled_from([*"ab1:%*?[]{}|'\\\"", "\x00", "\xff", "\ud800", "\U0010ffff"]), max_size=4
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "incr", "update", "delete", "clear", "keys", "get"]),
        NAMES,
        NAMES,
        st.integers(-(2**70), 2**70) | NAMES,
    ),
    max_size=25,
)


async def do(state: State, mine: dict[str, Any], step: str, key: str, value: Any) -> None:
    """One step, on the store and on the model, with the same outcome."""
    if step == "set":
        await state.set(key, value)
        mine[key] = value
    elif step == "incr" and isinstance(value, int) and not isinstance(mine.get(key), str):
        mine[key] = mine.get(key, 0) + value
        assert await state.incr(key, value) == mine[key]
    elif step == "update":
        mine[key] = value if isinstance(mine.get(key), int) else 0
        assert (
            await state.update(key, lambda old: value if isinstance(old, int) else 0) == mine[key]
        )
    elif step == "delete":
        assert await state.delete(key) is (mine.pop(key, None) is not None)
    elif step == "clear":
        assert await state.clear() == len(mine)
        mine.clear()
    elif step == "keys":
        assert await state.keys(key) == sorted(each for each in mine if each.startswith(key))
    assert await state.get(key, "nothing") == mine.get(key, "nothing")


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_a_store_does_what_a_dict_of_dicts_would(kind: str) -> None:
    with any_url(kind) as (url, prefix), asyncio.Runner() as runner:
        store = runner.run(open_store(url, prefix=prefix))

        async def run(steps: list[tuple[str, str, str, Any]]) -> None:
            model: dict[str, dict[str, Any]] = defaultdict(dict)
            for step, scope, key, value in steps:
                await do(State(store, scope), model[scope], step, key, value)
            for scope, mine in model.items():  # and nothing else, anywhere
                assert await State(store, scope).keys() == sorted(mine)
                assert {key: await State(store, scope).get(key) for key in mine} == mine
                await State(store, scope).clear()

        @settings(
            max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(STEPS)
        def walk(steps: list[tuple[str, str, str, Any]]) -> None:
            runner.run(run(steps))

        try:
            walk()
        finally:
            runner.run(store.close())
