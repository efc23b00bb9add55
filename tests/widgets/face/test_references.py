"""What a page would load from elsewhere is found before a browser has to block it."""

import pytest

from backstay.widgets.face.references import check_references, read_domains


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.test/a.js"></script>',
        "<script src=app.js></script>",
        '<script type="module">\n  import { a } from "./a.js"\n</script>',
        '<script type="module">import "https://cdn.test/a.js"</script>',
        '<link rel="stylesheet" href="style.css">',
        '<link rel="icon" href="//cdn.test/i.png">',
        '<img src="photo.png">',
        '<img srcset="data:image/png;base64,AA 1x, https://cdn.test/b.png 2x">',
        '<video poster="https://cdn.test/p.png"></video>',
        '<svg><use href="icons.svg#a"/></svg>',
        "<style>@import 'theme.css';</style>",
        "<style>body { background: url(https://cdn.test/b.png) }</style>",
        '<p style="background: url(b.png)">',
        '<iframe src="https://cdn.test"></iframe>',
        '<object data="a.pdf"></object>',
        '<base href="https://cdn.test/">',
        '<form action="/save">',
        '<meta http-equiv="refresh" content="0; url=https://cdn.test">',
        '<IMG SRC="ht\ntps://cdn.test/a.png">',
    ],
)
def test_what_the_policy_would_block_is_refused(html: str) -> None:
    with pytest.raises(ValueError, match="line "):
        check_references(html, [])


@pytest.mark.parametrize(
    "html",
    [
        '<img src="data:image/png;base64,AA==">',
        '<img srcset="data:image/png;base64,AA 1x, data:image/png;base64,BB 2x">',
        '<a href="https://example.com">a link</a>',
        '<link rel="canonical" href="https://example.com">',
        '<svg><use href="#icon"/></svg>',
        "<style>p { background: url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'/>\") }</style>",
        "<style>/* url(old.png) */ p { fill: url(#fade) }</style>",
        "<!-- <script src=app.js></script> -->",
        "<script>const text = 'import x from \"y\"'; fetch('/later')</script>",
        '<script type="module">import("later.js"); import.meta.env === "x"</script>',
        '<script type="application/json">{"src": "a.png"}</script>',
        "<img>",
        '<form action="">',
    ],
)
def test_what_loads_nothing_is_left_alone(html: str) -> None:
    check_references(html, [])


def test_declared_domains_may_be_loaded_from() -> None:
    allowed = read_domains("resource_domains", ["cdn.test", "https://*.img.test"])
    check_references('<img src="https://cdn.test/a.png">', allowed)
    check_references('<img src="//CDN.test/a.png">', allowed)
    check_references('<img src="https://a.b.img.test/x">', allowed)
    for url in (
        "http://cdn.test/a.png",
        "https://cdn.test.evil.test/a.png",
        "https://evilimg.test/a.png",
        "https://img.test/a.png",
        "https://cdn.test:8443/a.png",
        "https://cdn.test@evil.test/a.png",
        "https://[bad/a.png",
    ):
        with pytest.raises(ValueError, match="line 1: <img src>"):
            check_references(f'<img src="{url}">', allowed)


def test_the_message_says_where_what_and_how_to_mend_it() -> None:
    with pytest.raises(ValueError, match="line 1") as far:
        check_references('<img src="https://cdn.test/a.png">', [])
    assert str(far.value) == (
        "line 1: <img src> refers to 'https://cdn.test/a.png', which hosts block: a page may load "
        "from declared domains only. Inline it, or declare "
        'resource_domains=["https://cdn.test"]'
    )
    with pytest.raises(ValueError, match="line 3: <style> refers to 'b.png'.*Inline it"):
        check_references("<style>\np { color: red }\nq { background: url(b.png) }</style>", [])
    with pytest.raises(ValueError, match="backstay.callTool"):
        check_references("<form action=/save>", ["https://cdn.test"])


def test_frames_have_domains_of_their_own() -> None:
    page = '<iframe src="https://cdn.test/"></iframe>'
    with pytest.raises(ValueError, match="unless frame_domains names"):
        check_references(page, ["https://cdn.test"])
    check_references(page, [], frames=["https://cdn.test"])


def test_a_bare_host_means_https() -> None:
    assert read_domains(
        "x", ["cdn.test", "*.a.test", "http://localhost:5173", "wss://w.test/"]
    ) == [
        "https://cdn.test",
        "https://*.a.test",
        "http://localhost:5173",
        "wss://w.test",
    ]


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "*",
        "'self'",
        "a.test; script-src *",
        "a.test b.test",
        "https://a.test/path",
        'a"b',
        "data:",
    ],
)
def test_what_is_no_domain_never_reaches_the_policy(domain: str) -> None:
    with pytest.raises(ValueError, match=r"resource_domains has .*https://cdn\.example\.com"):
        read_domains("resource_domains", [domain])


def test_one_text_where_a_list_belongs_is_refused() -> None:
    with pytest.raises(TypeError, match=r"give a list: \['cdn.test'\]"):
        read_domains("connect_domains", "cdn.test")
