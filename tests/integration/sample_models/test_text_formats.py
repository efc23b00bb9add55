"""What a text is more than text is said only where nothing is lost by it."""

import pytest

from backstay.integration.sample_models.text_formats import formats_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2024-09-04T08:27:02+0300", "date-time"),
        ("2024-09-04T08:27:02.123Z", "date-time"),
        ("2024-09-04 08:27:02-05:00", "date-time"),
        ("2024-09-04T08:27:02", "date-time-local"),
        ("2024-09-04", "date"),
        ("08:27:02", "time"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "uuid"),
        ("https://api.hh.ru/areas/1?a=%20", "uri"),
    ],
)
def test_a_text_has_the_format_that_its_type_reads(text: str, name: str) -> None:
    assert formats_of(text) == {name}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "paid",
        "20240904",
        "1725427622",
        "2024-13-04",
        "2024-09-04T25:00:00Z",
        "2024-9-4",
        "08:27",  # written as 08:27:00
        "0F8FAD5B-D9CB-469F-A165-70867728950E",  # written in small letters
        "0f8fad5bd9cb469fa16570867728950e",  # written with dashes
        "12345678123412341234123456789012",
        "https://example.com",  # written with a slash
        "HTTPS://EXAMPLE.COM/",
        "https://bücher.example/",
        "javascript:alert(1)",
        "someone@example.com",
        "http://" + "a" * 5000 + "/",
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_a_text_that_would_be_written_in_another_way_stays_text(text: str) -> None:
    assert formats_of(text) == frozenset()
