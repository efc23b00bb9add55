"""The names of a service in tokens."""

import pytest

from backstay.auth.audience import read_audience


@pytest.mark.parametrize("url", ["https://a.example/mcp", "https://a.example/mcp/"])
def test_a_url_counts_with_and_without_a_slash_at_its_end(url: str) -> None:
    assert read_audience(url) == {"https://a.example/mcp", "https://a.example/mcp/"}


def test_other_names_count_as_they_are() -> None:
    assert read_audience(["api://shop/", "shop"]) == {"api://shop/", "shop"}


@pytest.mark.parametrize("audience", ["", [], [""], ["shop", ""]])
def test_an_empty_audience_is_refused(audience: list[str]) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        read_audience(audience)


@pytest.mark.parametrize("audience", [None, 5, [5], b"shop"])
def test_an_audience_is_text(audience: object) -> None:
    with pytest.raises(TypeError, match="audience is a string or a list of strings"):
        read_audience(audience)  # type: ignore[arg-type]  # what is wrong with it
