"""Rules are for endpoints, for those of one instance first, and know what was called."""

from collections.abc import Iterator
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration import endpoint_of
from backstay.testing.integrations.answer import answers
from backstay.testing.integrations.patch import patch_integration
from backstay.testing.integrations.rules import MockRules
from tests.support import async_test
from tests.testing.integrations.bank import Bank

CHARGE = endpoint_of(Bank.charge)


class Other(Bank): ...


def found(rules: MockRules, instance: Bank) -> Any:
    rule = rules.find(CHARGE, instance)
    return None if rule is None else rule.mock


def test_a_rule_for_one_instance_goes_first_then_one_for_an_endpoint_then_one_for_a_class() -> None:
    class Fake:
        charge = 3
        something_else = 4

    mine, other = Bank("http://a"), Other("http://b")
    rules = MockRules({Other: Fake(), Bank.charge: 2, mine.charge: 1})
    assert (found(rules, mine), found(rules, other)) == (1, 2)
    assert found(MockRules({Other: Fake()}), other) == 3
    assert found(MockRules({Other: Fake()}), mine) is None
    assert found(MockRules({mine: Fake()}), mine) == 3
    assert found(MockRules({mine: Fake()}), other) is None


def test_an_instance_with_options_is_still_that_instance() -> None:
    mine = Bank("http://a")
    rules = MockRules({mine.charge: 1})
    assert found(rules, mine.with_options(idempotency_key="k")) == 1
    assert found(MockRules({mine.with_options(timeout=1).charge: 1}), mine) == 1


def numbers() -> Iterator[int]:
    yield 1


async def coroutine() -> None: ...


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: MockRules({print: 1}), "is no endpoint of an integration"),
        (lambda: MockRules({"charge": 1}), "is no endpoint of an integration"),
        (lambda: MockRules([Bank.charge]), "made of a dictionary"),
        (lambda: MockRules({Bank.charge: dict}), "is a class; give one of its instances"),
        (lambda: MockRules({Bank.charge: numbers()}), "works once; give the function"),
        (lambda: MockRules({Bank.charge: iter([1])}), r"give answers\(...\)"),
        (lambda: MockRules({Bank.charge: coroutine()}), "was called already"),
        (lambda: MockRules({Bank.charge: answers(1, dict)}), "is a class"),
        (
            lambda: MockRules({Bank: object()}),
            r"has none of its methods \(charge, rate, charges, rows, rates, ",
        ),
    ],
    ids=[
        "function",
        "text",
        "list",
        "class",
        "generator",
        "iterator",
        "coroutine",
        "inside_answers",
        "empty_fake",
    ],
)
def test_what_could_never_stand_in_is_refused_at_once(make: Any, problem: str) -> None:
    with pytest.raises(BadIntegration, match=problem):
        make()


@async_test
async def test_calls_are_known_by_endpoint_and_by_instance() -> None:
    mine, other = Bank("http://a"), Bank("http://b")
    rules = MockRules({Bank.charge: {"id": 1, "sum": 1}, Bank.charges: []})
    with patch_integration(rules):
        await mine.charge("a", 1)
        await other.charge("b", amount=2)
        await other.charges(page=2)
    assert [str(each) for each in rules.calls] == [
        "Bank.charge(account='a', amount=1, note='')",
        "Bank.charge(account='b', amount=2, note='')",
        "Bank.charges(query={'page': 2})",
    ]
    assert len(rules.calls_of(Bank.charge)) == 2
    assert len(rules.calls_of(other.charge)) == 1
    assert len(rules.calls_of(other)) == 2
    assert len(rules.calls_of(Bank)) == 3
    assert rules.assert_called(Bank.charge, account="b").kwargs == {"amount": 2}
    rules.assert_not_called(Bank.rows)
    with pytest.raises(
        AssertionError, match=r"not called with amount=3; its calls:\n  Bank.charge"
    ):
        rules.assert_called(Bank.charge, amount=3)
    with pytest.raises(AssertionError, match=r"Bank.rows was not called; .*\n  it was not called"):
        rules.assert_called(Bank.rows)
    with pytest.raises(AssertionError, match="Bank.charge was called 2 times"):
        rules.assert_not_called(Bank.charge)


@async_test
async def test_rules_that_are_used_again_begin_anew() -> None:
    bank = Bank("http://a")
    rules = MockRules({Bank.charges: answers([], [{"id": 1, "sum": 2}])})
    for _ in range(2):
        with patch_integration(rules):
            assert await bank.charges() == []
            assert len(await bank.charges()) == 1
    assert len(rules.calls) == 2
