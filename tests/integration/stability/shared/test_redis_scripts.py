"""The scripts are what Redis runs: numbers of theirs survive Lua, and each names its keys."""

import re

import pytest
import redis

from backstay.integration.stability.shared import redis_scripts
from backstay.integration.stability.shared.port import ANY_EPOCH
from tests.integration.stability.shared.shared_stores import REDIS_URL
from tests.state.stores import need_redis

SCRIPTS = {name: getattr(redis_scripts, name) for name in redis_scripts.__all__}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_reaches_no_key_that_it_was_not_given(name: str) -> None:
    for call in re.findall(r"redis\.call\('(?!TIME)\w+', (\w+)", SCRIPTS[name]):
        assert call in {"KEYS", "key"}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_is_lua_that_redis_understands(name: str) -> None:
    need_redis()
    with redis.Redis.from_url(REDIS_URL) as client:
        assert len(client.script_load(SCRIPTS[name])) == 40


def test_the_largest_number_goes_through_lua_as_it_is() -> None:
    need_redis()
    with redis.Redis.from_url(REDIS_URL) as client:
        script = "return string.format('%.0f', tonumber(ARGV[1]))"
        assert int(client.eval(script, 0, ANY_EPOCH)) == ANY_EPOCH
