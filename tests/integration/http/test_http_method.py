"""Methods are texts, as clients take them, with names in small letters."""

from backstay.integration import HTTPMethod


def test_a_method_is_the_text_that_is_sent() -> None:
    assert HTTPMethod.post == "POST"
    assert HTTPMethod("PATCH").name == "patch"
