"""Operators: one condition for all values of a shape."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from backstay.viewset.operands import Form, operand_of
from backstay.viewset.operators import OPERATORS, occurs, occurs_in

TABLE = sa.table(
    "t",
    sa.column("number", sa.Integer()),
    sa.column("name", sa.String()),
    sa.column("thin", sa.REAL()),
)
NUMBER = operand_of(sa.Integer(), None)
NAME = operand_of(sa.String(), None)
THIN = operand_of(sa.REAL(), None)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_say_what_they_do_and_need(name: str) -> None:
    operator = OPERATORS[name]
    assert operator.says
    assert operator.needs in {"any", "ordered", "text", "nothing"}
    assert operator.takes_several is (name in {"in", "not_in"})


def test_values_of_one_shape_have_one_condition() -> None:
    assert NUMBER is not None
    equal, among = OPERATORS["gte"], OPERATORS["in"]
    assert equal.shape(NUMBER, 1) == equal.shape(NUMBER, 2)
    assert equal.shape(NUMBER, 2**40) == Form.BIG
    assert among.shape(NUMBER, [1]) == among.shape(NUMBER, [1, 2, 3]) == (Form.OWN,)
    assert among.shape(NUMBER, [1, 2**40]) == (Form.BIG,)
    assert str(equal.condition(TABLE.c.number, Form.OWN, "p")) == "t.number >= :p"
    assert equal.parameters(NUMBER, 5, "p") == {"p": 5}
    assert among.parameters(NUMBER, [5, 6], "p") == {"p": [5, 6]}


def test_numbers_of_four_bytes_are_cast_one_by_one() -> None:
    assert THIN is not None
    among = OPERATORS["in"]
    shape = among.shape(THIN, [0.1, 1e300])
    assert shape == (Form.SINGLE, Form.DOUBLE)
    assert str(among.condition(TABLE.c.thin, shape, "p")) == (
        "t.thin IN (CAST(:p_0 AS REAL), :p_1)"
    )
    assert among.parameters(THIN, [0.1, 1e300], "p") == {"p_0": 0.1, "p_1": 1e300}


def test_wildcards_mean_themselves() -> None:
    assert NAME is not None
    assert OPERATORS["icontains"].parameters(NAME, "1%_/", "p") == {"p": "%1/%/_//%"}
    assert OPERATORS["startswith"].parameters(NAME, "%", "p") == {"p": "/%%", "p_text": "%"}
    assert OPERATORS["iendswith"].parameters(NAME, "*", "p") == {"p": "%*"}
    assert occurs("_") == "%/_%"
    assert "ESCAPE '/'" in str(occurs_in(TABLE.c.name, "p"))
