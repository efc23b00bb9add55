"""What an author's HTML has already, and where the rest goes."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.widgets.face.shape import Shape

WHOLE = "<!DOCTYPE html>\n<html>\n<head><title>Mine</title></head>\n<body><p>hi</p></body></html>"


def dress(html: str) -> str:
    return Shape.of(html).dress(html, head="<X>", locale="de")


def test_a_fragment_becomes_the_body_of_a_document() -> None:
    assert dress("<p>hi</p>") == (
        '<!doctype html>\n<html lang="de">\n<head>\n<X>\n</head>\n<body>\n<p>hi</p>\n</body>\n</html>\n'
    )


def test_a_whole_document_keeps_all_it_has() -> None:
    assert dress(WHOLE) == WHOLE.replace("<html>", '<html lang="de">').replace(
        "<head>", "<head>\n<X>"
    )


def test_a_language_that_is_there_stays() -> None:
    assert 'lang="pt"' in dress('<html lang="pt"><head></head></html>')
    assert "de" not in dress('<html lang="pt"><head></head></html>')


def test_a_document_without_a_head_gets_one_in_its_place() -> None:
    assert dress("<!doctype html><body>hi</body>") == (
        "<!doctype html>\n<head>\n<X>\n</head><body>hi</body>"
    )
    assert dress("<html><body>hi</body></html>").index("<X>") < dress(
        "<html><body>hi</body></html>"
    ).index("<body>")


def test_a_document_without_a_doctype_gets_one_lest_browsers_remember_1998() -> None:
    assert dress("<html><head></head></html>").startswith("<!doctype html>\n")


def test_what_stands_in_comments_and_scripts_is_not_taken_for_tags() -> None:
    html = "<!-- <html><head> --><script>'<body>'</script><p>hi</p>"
    assert not Shape.of(html).document


def test_a_title_in_an_svg_is_not_the_page_s() -> None:
    assert not Shape.of("<p></p><svg><title>a pie</title></svg>").title
    assert Shape.of("<title>a page</title>").title


def test_charset_and_viewport_are_seen() -> None:
    shape = Shape.of("<meta charset=utf-8><meta name=Viewport content=x>")
    assert shape.charset
    assert shape.viewport
    assert Shape.of('<meta http-equiv="Content-Type" content="text/html">').charset


PIECES = [
    "<!doctype html>",
    "<html>",
    '<html lang="fr">',
    "<head>",
    "</head>",
    "<body class=a>",
    "<title>t</title>",
    "<meta charset=utf-8>",
    "<p>\n",
    "<script>var a = '<head>';</script>",
    "<!-- <body> -->",
    "text & more\n",
    "</html>",
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_nothing_of_the_author_s_is_lost_or_moved_and_the_head_comes_once(html: str) -> None:
    dressed = dress(html)
    assert dressed.count("<X>") == 1
    assert dressed.lower().count("<!doctype") == max(1, html.lower().count("<!doctype"))
    rest = iter(dressed)
    assert all(letter in rest for letter in html), "the author's text, in its order"
