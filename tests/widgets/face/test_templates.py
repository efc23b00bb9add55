"""The ready templates in a real browser: what they show, and that data is never more than data."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from backstay.widgets.face import TEMPLATES
from tests.widgets.face.samples import (
    ALBUMS,
    BAR,
    CAROUSEL,
    CHART,
    DONUT,
    FINISHED,
    FORM,
    LINE,
    LIST,
    PROGRESS,
    SAMPLES,
)
from tests.widgets.face.stage import Stage

SHOWN = {
    "albums": "Dolomites",
    "carousel": "Lake house in Hallstatt",
    "chart": "Vienna",
    "form": "Book the pick-up",
    "list": "Museu Nacional do Azulejo",
    "progress": "Reading prices",
}
POLLED: dict[str, list[Any]] = {"job_status": [PROGRESS]}

# Becomes an element, an attribute or a script wherever text is taken for markup.
HOSTILE = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script>"\'><svg/onload=owned=1>'
    "</style></script>javascript:window.owned=1"
)


def hostile(value: Any, key: str = "") -> Any:
    """The same shape with hostile text in every place for text, addresses among them."""
    if isinstance(value, dict):
        # Names that only the template reads stay; so do those of tools.
        kept = {"type", "status", "tool", "format", "id", "shape", "$ref", "contentEncoding"}
        return {
            name: each if name in kept or name == "x" else hostile(each, name)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [hostile(each, key) for each in value]
    if isinstance(value, str):
        if key == "required":
            return value
        return "javascript:window.owned=1" if key in {"url", "image", "cover"} else HOSTILE
    return value


@pytest.mark.parametrize("dialect", ["ui", "openai"])
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_shows_its_props_in_either_dialect_without_a_complaint(
    stage: Stage, name: str, dialect: str
) -> None:
    stage.template(name, SAMPLES[name], dialect=dialect, answers=POLLED)
    stage.until_text(SHOWN[name])
    assert stage.problems() == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_bones_are_shown_until_the_result_is_there(stage: Stage, name: str) -> None:
    stage.template(name)
    stage.until("document.querySelector('main[aria-busy=true] .bone')")
    stage.notify("ui/notifications/tool-result", {"structuredContent": SAMPLES[name]})
    stage.until_text(SHOWN[name])
    stage.until("!document.querySelector('.bone, main[aria-busy]')")


@pytest.mark.parametrize("name", TEMPLATES)
def test_nothing_is_wider_than_the_window(stage: Stage, name: str) -> None:
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk" * 3
    stage.template(name, {**SAMPLES[name], "title": long}, width=320, answers=POLLED)
    stage.until_text(SHOWN[name])
    assert stage.width_to_spare() <= 0
    for theme in ("light", "dark"):
        for width in (320, 1000):
            stage.template(
                name, SAMPLES[name], context={"theme": theme}, width=width, answers=POLLED
            )
            stage.until_text(SHOWN[name])
            assert stage.width_to_spare() <= 0, width
            stage.shot(f"{name}-{theme}-{width}")


@pytest.mark.parametrize("name", TEMPLATES)
def test_hostile_text_stays_text_in_every_field(stage: Stage, name: str) -> None:
    stage.template(name, hostile(copy.deepcopy(SAMPLES[name])), answers=POLLED)
    stage.until(f"document.body.textContent.includes({HOSTILE[:20]!r})")
    assert stage.frame("window.owned") is None
    assert (
        stage.frame(
            "document.querySelectorAll('main script, main img[src=x], main [onerror]').length"
        )
        == 0
    )
    assert (
        stage.frame("document.querySelectorAll('[href^=javascript], [src^=javascript]').length")
        == 0
    )
    assert stage.problems() == []


ODD: list[dict[str, Any]] = [
    {"items": "no list", "albums": 3, "series": None, "schema": [], "status": None},
    {
        "items": [None, 1, "x", {}],
        "albums": [None, {}],
        "series": [None, {"values": "x"}],
        "schema": {"properties": {"a": None}},
        "status": {},
        "steps": [None],
        "done": "x",
    },
    {},
    {"error": "internal_error", "message": "An unexpected error occurred", "error_id": "e-1"},
]


@pytest.mark.parametrize("name", TEMPLATES)
def test_props_of_a_wrong_shape_break_nothing_and_errors_are_shown(stage: Stage, name: str) -> None:
    stage.template(name)
    for props in ODD:
        stage.notify("ui/notifications/tool-result", {"structuredContent": props})
        stage.until("!document.querySelector('main[aria-busy]')")
    stage.until_text("An unexpected error occurred")
    assert "e-1" in stage.text()
    assert stage.problems() == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_theme_that_changes_changes_the_page(stage: Stage, name: str) -> None:
    stage.template(name, SAMPLES[name], answers=POLLED)
    stage.until_text(SHOWN[name])
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert stage.frame(ground) == "rgb(255, 255, 255)"
    stage.notify("ui/notifications/host-context-changed", {"theme": "dark"})
    stage.until(f"{ground} === 'rgb(20, 25, 24)'")
    stage.until_text(SHOWN[name])


CONTRAST = """(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const at = node.parentElement;
    if (!node.data.trim() || at.closest("script, style, [aria-hidden], .unseen, [aria-disabled=true]") || !at.getClientRects().length) continue;
    let ground = [0, 0, 0, 0];
    for (let up = at; up && ground[3] < 255; up = up.parentElement) ground = rgba(getComputedStyle(up).backgroundColor);
    const style = getComputedStyle(at);
    const ink = rgba(at instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.push([node.data.trim().slice(0, 30), Math.round(ratio * 100) / 100]);
  }
  return found;
})()"""


@pytest.mark.parametrize("name", TEMPLATES)
def test_text_has_the_contrast_that_wcag_asks_for(stage: Stage, name: str) -> None:
    for theme in ("light", "dark"):
        stage.template(name, SAMPLES[name], context={"theme": theme}, answers=POLLED)
        stage.until_text(SHOWN[name])
        assert stage.frame(CONTRAST) == [], theme  # WCAG 2.2, 1.4.3 (AA)


@pytest.mark.parametrize("accent", ["#ffee66", "#102030", "rgb(120, 120, 120)"])
def test_on_a_host_s_own_accent_labels_stay_readable(stage: Stage, accent: str) -> None:
    context = {"styles": {"variables": {"--color-text-info": accent}}}
    stage.template("form", FORM, context=context)
    stage.until_text("Book the pick-up")
    assert [each for each in stage.frame(CONTRAST) if each[0] == "Book the pick-up"] == []


@pytest.mark.parametrize("name", TEMPLATES)
def test_everything_that_can_be_pressed_has_a_name(stage: Stage, name: str) -> None:
    stage.template(name, SAMPLES[name], answers=POLLED)
    stage.until_text(SHOWN[name])
    unnamed = """[...document.querySelectorAll("button, a[href], input, select, textarea")].filter((each) =>
      !(each.textContent.trim() || each.getAttribute("aria-label") || (each.labels && [...each.labels].some((l) => l.textContent.trim())))).length"""
    assert stage.frame(unnamed) == 0


def test_labels_of_the_props_replace_the_words_of_the_page(stage: Stage) -> None:
    stage.template("list", {**LIST, "labels": {"count": "Orte"}}, context={"locale": "de"})
    stage.until_text("4 Orte")


def test_motion_stops_for_those_who_ask_for_less(stage: Stage) -> None:
    stage.template("list", None, reduced_motion="reduce")
    stage.until("document.querySelector('.bone')")
    assert (
        stage.frame("getComputedStyle(document.querySelector('.bone')).animationIterationCount")
        == "1"
    )


# The list ------------------------------------------------------------------------------------


def test_an_action_calls_its_tool_and_changes_its_row_in_place_keeping_the_focus(
    stage: Stage,
) -> None:
    saved = {
        "item": {"id": "2", "badge": "Saved", "action": {"label": "Save", "tool": "save"}},
        "message": "Kept",
    }
    stage.template("list", LIST, answers={"save": [saved]})
    stage.until_text("Azulejo")
    stage.frame("window.first = document.querySelector('.row')")
    stage.click(".row[data-id='2'] button")
    stage.until_text("Kept")
    assert "Saved" in stage.frame("document.querySelector(\".row[data-id='2']\").innerText")
    assert "Five centuries" in stage.text(), "what the tool did not mention stays"
    assert stage.calls() == [{"tool": "save", "arguments": {"id": "2"}}]
    assert stage.frame("window.first.isConnected"), "other rows are not made anew"
    assert stage.frame("document.activeElement.closest('.row').dataset.id") == "2"


def test_what_is_not_easily_undone_asks_once_more(stage: Stage) -> None:
    stage.template("list", LIST, answers={"remove": [{"removed": "4"}]})
    stage.until_text("Tascardoso")
    stage.click(".row[data-id='4'] button")
    stage.until_text("Sure?")
    assert stage.calls() == []
    stage.click(".row[data-id='4'] button")
    stage.until("document.querySelectorAll('.row').length === 3")
    assert stage.calls() == [{"tool": "remove", "arguments": {"id": "4"}}]


def test_an_action_that_fails_says_so_and_can_be_tried_again(stage: Stage) -> None:
    stage.template(
        "list", LIST, answers={"save": [{"fails": "The shop is closed"}, {"message": "Done now"}]}
    )
    stage.until_text("Azulejo")
    stage.click(".row button")
    stage.until_text("The shop is closed")
    stage.click(".row button")
    stage.until_text("Done now")


def test_a_thousand_items_come_in_portions_and_can_be_filtered(stage: Stage) -> None:
    items = [{"id": number, "title": f"Item {number}"} for number in range(1000)]
    stage.template("list", {"items": items})
    stage.until_text("1,000 items")
    assert stage.frame("document.querySelectorAll('.row').length") == 50
    stage.click(".foot button")
    stage.until("document.querySelectorAll('.row').length === 100")
    assert stage.frame("document.activeElement.dataset.id") == "50"
    stage.fill("input[type=search]", "Item 77")
    stage.until("document.querySelectorAll('.row').length === 11")
    stage.fill("input[type=search]", "nothing like it")
    stage.until_text("No matches")


def test_an_empty_list_says_what_the_tool_says(stage: Stage) -> None:
    stage.template("list", {"items": [], "empty": {"title": "No places", "hint": "Ask for one."}})
    stage.until_text("No places")
    assert "Ask for one." in stage.text()


def test_more_is_asked_from_the_server_where_it_has_more(stage: Stage) -> None:
    more = {"tool": "next_page", "arguments": {"page": 2}}
    stage.template(
        "list",
        {**LIST, "more": more},
        answers={"next_page": [{"items": [{"id": "5", "title": "Fifth"}]}]},
    )
    stage.until_text("Show more")
    stage.click(".foot button")
    stage.until_text("Fifth")
    assert "Azulejo" in stage.text()
    assert "Show more" not in stage.text()


# The carousel and the albums -----------------------------------------------------------------


@pytest.mark.parametrize(("locale", "key"), [("en", "ArrowRight"), ("ar", "ArrowLeft")])
def test_the_carousel_is_walked_by_key_in_the_direction_of_reading(
    stage: Stage, locale: str, key: str
) -> None:
    stage.template(
        "carousel", CAROUSEL, context={"locale": locale}, width=600, reduced_motion="reduce"
    )
    stage.until("document.querySelector('.card')")
    stage.frame("document.querySelector('.strip').focus()")
    stage.press(key)
    stage.until("Math.abs(document.querySelector('.strip').scrollLeft) > 50")
    stage.until("document.querySelector('.turn button').getAttribute('aria-disabled') === 'false'")


def test_a_card_changes_in_place(stage: Stage) -> None:
    booked = {"item": {"id": "1", "badge": "Booked", "action": None}, "message": "See you in June"}
    stage.template("carousel", CAROUSEL, answers={"book": [booked]})
    stage.until_text("Boathouse")
    stage.click(".card[data-id='1'] button")
    stage.until_text("See you in June")
    assert "Booked" in stage.frame("document.querySelector('.card').innerText")
    assert stage.frame("document.querySelectorAll('.card:first-child button').length") == 0


def test_albums_open_and_close_and_remember_which_is_open(stage: Stage) -> None:
    stage.template("albums", ALBUMS, dialect="openai")
    stage.until_text("Coast path")
    stage.click(".album >> nth=1")
    stage.until("document.querySelectorAll('.shot').length === 5")
    stage.click(".shot >> nth=2")
    stage.until_text("3 / 5")
    stage.press("ArrowRight")
    stage.until_text("4 / 5")
    stage.press("Escape")
    stage.until("document.querySelectorAll('.shot').length === 5")
    assert stage.frame("document.activeElement.dataset.key") == "photo 3"
    assert [each["args"][0] for each in stage.sent("setWidgetState")][-1] == {
        "album": "a2",
        "photo": None,
    }
    stage.click("[data-key=back]")
    stage.until("document.querySelectorAll('.album').length === 4")
    stage.template(
        "albums",
        ALBUMS,
        dialect="openai",
        setup={"openai": {"widgetState": {"album": "a1", "photo": 0}}},
    )
    stage.until_text("1 / 8")


def test_an_album_without_its_photos_asks_for_them(stage: Stage) -> None:
    albums = [
        {"id": "a", "title": "Far away", "load": {"tool": "photos", "arguments": {"id": "a"}}}
    ]
    stage.template(
        "albums", {"albums": albums}, answers={"photos": [{"photos": [{"id": 1, "title": "Near"}]}]}
    )
    stage.until_text("Far away")
    stage.click(".album")
    stage.until("document.querySelectorAll('.shot').length === 1")
    assert stage.calls() == [{"tool": "photos", "arguments": {"id": "a"}}]


# The form ------------------------------------------------------------------------------------


def fill_in(stage: Stage) -> None:
    stage.until_text("Book the pick-up")
    stage.fill("[data-field=email] input", "ada@example.com")
    stage.fill("[data-field='address.street'] input", "12 St James Square")


def test_a_form_hands_the_tool_values_of_the_schema_s_types(stage: Stage) -> None:
    stage.template(
        "form",
        FORM,
        answers={
            "plan": [{"message": "Booked", "details": [{"label": "Reference", "value": "P-1"}]}]
        },
    )
    fill_in(stage)
    stage.fill("[data-field=parcels] input", "3")
    stage.inner.locator("[data-field=country] select").select_option(label="Portugal")
    stage.click("[data-field=insured] input")
    stage.click("[data-field=size] .choice >> nth=2")
    stage.files("[data-field=photo] input", ("a.png", "image/png", b"\x89PNG\x00\xff"))
    stage.click("button[type=submit]")
    stage.until_text("P-1")
    assert stage.calls() == [
        {
            "tool": "plan",
            "arguments": {
                "source": "form",
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "parcels": 3,
                "size": "large",
                "country": "pt",
                "insured": True,
                "photo": "iVBORwD/",
                "address": {"street": "12 St James Square", "city": "London"},
            },
        }
    ]


def test_what_is_missing_or_wrong_is_said_at_its_field_and_nothing_is_sent(stage: Stage) -> None:
    stage.template("form", FORM, answers={"plan": [{"message": "Booked"}]})
    stage.until_text("Book the pick-up")
    stage.fill("[data-field=name] input", "A")
    stage.fill("[data-field=email] input", "nobody")
    stage.fill("[data-field=parcels] input", "40")
    stage.files("[data-field=photo] input", ("big.png", "image/png", b"x" * 65))
    stage.click("button[type=submit]")
    stage.until_text("At least 2 characters")
    flaws = stage.frame(
        "[...document.querySelectorAll('.wrong')].map((each) => [each.dataset.field, each.querySelector('.flaw').innerText.trim()])"
    )
    assert dict(flaws) == {
        "name": "At least 2 characters, please.",
        "email": "Write an e-mail address, like ada@example.com.",
        "parcels": "At most 20, please.",
        "photo": "This file has 65 B; at most 64 B are taken.",
        "address.street": "Fill this in.",
    }
    assert stage.frame("document.activeElement.closest('.field').dataset.field") == "name"
    assert (
        stage.frame(
            "document.querySelector('[data-field=email] input').getAttribute('aria-invalid')"
        )
        == "true"
    )
    assert stage.calls() == []
    stage.fill("[data-field=name] input", "Ada")
    stage.until("!document.querySelector('[data-field=name]').classList.contains('wrong')")


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "validation_error", "field": "email", "message": "Taken already"},
        {"errors": [{"field": "email", "message": "Taken already"}]},
        {
            "isError": True,
            "content": [
                {
                    "type": "text",
                    "text": '{"error": "validation_error", "field": "email", "message": "Taken already"}',
                }
            ],
        },
    ],
)
def test_what_the_server_finds_wrong_is_said_at_the_field(
    stage: Stage, answer: dict[str, Any]
) -> None:
    stage.template("form", FORM, answers={"plan": [answer, {"message": "Booked"}]})
    fill_in(stage)
    stage.click("button[type=submit]")
    stage.until_text("Taken already")
    assert stage.frame("document.activeElement.closest('.field').dataset.field") == "email"
    stage.fill("[data-field=email] input", "other@example.com")
    stage.click("button[type=submit]")
    stage.until_text("Booked")


def test_a_server_s_error_of_no_field_is_said_beside_the_button(stage: Stage) -> None:
    answer = {"error": "internal_error", "message": "Try later"}
    stage.template("form", FORM, answers={"plan": [answer]})
    fill_in(stage)
    stage.click("button[type=submit]")
    stage.until_text("Try later")
    assert stage.frame("document.querySelector('.whole').getAttribute('role')") == "alert"


def test_a_form_may_go_on_to_a_next_step(stage: Stage) -> None:
    step = {
        "title": "Pay",
        "schema": {"properties": {"card": {"type": "string"}}},
        "submit": {"tool": "pay", "label": "Pay now"},
    }
    stage.template("form", FORM, answers={"plan": [step], "pay": [{"message": "Paid"}]})
    fill_in(stage)
    stage.click("button[type=submit]")
    stage.until_text("Pay now")
    stage.click("button[type=submit]")
    stage.until_text("Paid")


def test_a_form_that_was_not_needed_says_what_became_of_it(stage: Stage) -> None:
    stage.template("form", {"message": "Taken", "details": [{"label": "Photo", "value": "PNG"}]})
    stage.until_text("Taken")
    stage.until_text("PNG")
    assert stage.inner.locator("form, button").count() == 0


def test_what_somebody_has_typed_outlives_a_change_of_theme(stage: Stage) -> None:
    stage.template("form", FORM, dialect="both")
    fill_in(stage)
    stage.notify("ui/notifications/host-context-changed", {"theme": "dark"})
    stage.notify("ui/notifications/tool-result", {"structuredContent": FORM})
    stage.until("document.documentElement.dataset.theme === 'dark'")
    assert (
        stage.frame("document.querySelector('[data-field=email] input').value") == "ada@example.com"
    )


def test_a_file_that_the_host_keeps_is_uploaded_and_referred_to(stage: Stage) -> None:
    schema = {
        "properties": {
            "photo": {
                "type": "object",
                "properties": {"download_url": {"type": "string"}, "file_id": {"type": "string"}},
            }
        }
    }
    stage.template(
        "form",
        {"schema": schema, "submit": {"tool": "keep"}},
        dialect="openai",
        answers={"keep": [{"message": "Kept"}]},
    )
    stage.until_text("Photo")
    stage.files("input[type=file]", ("a.png", "image/png", b"x"))
    stage.click("button[type=submit]")
    stage.until_text("Kept")
    assert stage.calls()[0]["arguments"]["photo"] == {
        "file_id": "file_a.png",
        "download_url": "https://files.test/file_a.png",
        "file_name": "a.png",
        "mime_type": "image/png",
    }


# The chart -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "props", [CHART, LINE, BAR, DONUT, {**BAR, "stacked": True}, {**CHART, "stacked": True}]
)
def test_every_kind_of_chart_is_drawn_and_told_as_a_table(
    stage: Stage, props: dict[str, Any]
) -> None:
    stage.template("chart", props)
    stage.until("document.querySelector('.plot svg')")
    assert stage.frame("document.querySelectorAll('table tbody tr').length") == len(props["x"])
    assert "NaN" not in stage.frame("document.querySelector('.plot').innerHTML")
    assert stage.problems() == []


NUMBERS: list[list[Any]] = [
    [0],
    [5],
    [-3, 4, -5],
    [0, 0, 0],
    [None, 2, None],
    [1e12, 2e12],
    [0.001, 0.002],
    list(range(1000)),
]


@pytest.mark.parametrize("kind", ["line", "area", "bar", "donut"])
def test_odd_numbers_are_drawn_too(stage: Stage, kind: str) -> None:
    stage.template("chart", width=320)
    for values in NUMBERS:
        props = {
            "title": f"{values[:3]}",
            "type": kind,
            "series": [{"name": "a", "values": values}],
        }
        stage.notify("ui/notifications/tool-result", {"structuredContent": props})
        stage.until_text(props["title"])
        stage.until("document.querySelector('.plot svg')")
        drawn = stage.frame("document.querySelector('.plot').innerHTML")
        assert "NaN" not in drawn, values
        assert "Infinity" not in drawn, values
        assert stage.width_to_spare() <= 0, values
    assert stage.problems() == []


def test_a_gap_in_the_numbers_is_a_gap_in_the_line(stage: Stage) -> None:
    stage.template(
        "chart", {"type": "line", "series": [{"name": "a", "values": [1, 2, None, 4, 5]}]}
    )
    stage.until("document.querySelectorAll('.curve').length === 2")


def test_points_are_walked_by_key_and_read_out(stage: Stage) -> None:
    stage.template("chart", LINE)
    stage.until("document.querySelector('.plot svg')")
    stage.frame("document.querySelector('.plot svg').focus()")
    stage.press("ArrowRight")
    stage.press("ArrowRight")
    stage.until("document.querySelector('.tip').innerText.includes('430')")
    assert (
        stage.frame("document.querySelector('.plot [aria-live]').textContent")
        == "Mar 9, 2026: Vienna 430, Lisbon 248, Online 160"
    )
    stage.press("Escape")
    stage.until("document.querySelector('.tip').hidden")


def test_a_series_can_be_hidden_but_never_all(stage: Stage) -> None:
    stage.template("chart", CHART)
    stage.until("document.querySelectorAll('.curve').length === 2")
    stage.click(".key button >> nth=0")
    stage.until("document.querySelectorAll('.curve').length === 1")
    stage.click(".key button >> nth=1")
    assert stage.frame("document.querySelectorAll('.curve').length") == 1


def test_the_table_can_be_seen_by_everybody(stage: Stage) -> None:
    stage.template("chart", CHART)
    stage.until("document.querySelector('.plot svg')")
    stage.click(".head button")
    stage.until("document.querySelector('.sheet') && document.querySelector('.plot').hidden")
    assert "Mar 2, 2026" in stage.text()


# Progress ------------------------------------------------------------------------------------


def test_a_job_is_followed_until_it_is_over_and_not_a_poll_longer(stage: Stage) -> None:
    polls = [{"status": "running", "done": 400}, {**FINISHED, "poll": None}]
    stage.template("progress", PROGRESS, answers={"job_status": polls})
    stage.until("document.querySelector('.head .badge')?.textContent === 'Finished'")
    assert "312 of 480" not in stage.frame("document.querySelector('.figures').innerText")
    assert (
        stage.frame("document.querySelector('[role=progressbar]').getAttribute('aria-valuenow')")
        == "100"
    )
    assert "Skipped" in stage.text()
    assert len(stage.calls()) == 2
    assert (
        stage.frame(
            "new Promise((done) => setTimeout(() => done(document.querySelectorAll('.spin').length), 600))"
        )
        == 0
    )
    assert len(stage.calls()) == 2


def test_at_teardown_nothing_is_asked_any_more(stage: Stage) -> None:
    stage.template("progress", PROGRESS, answers={"job_status": [PROGRESS]})
    stage.until_host("window.log.length >= 1")
    stage.host("window.tell({ id: 't', method: 'ui/resource-teardown', params: {} })")
    stage.until_host("window.sent.some((each) => each.id === 't')")
    asked = len(stage.calls())
    stage.host("new Promise((done) => setTimeout(done, 900))")
    assert len(stage.calls()) <= asked + 1, "one may have been under way"


def test_a_poll_that_fails_is_tried_again(stage: Stage) -> None:
    polls = [{"fails": "offline"}, {"status": "succeeded", "result": "All there"}]
    stage.template("progress", PROGRESS, answers={"job_status": polls})
    stage.until_text("All there")
    assert len(stage.calls()) == 2


def test_an_action_s_answer_changes_the_job(stage: Stage) -> None:
    stage.template(
        "progress",
        {**PROGRESS, "poll": None},
        answers={"cancel": [{"status": "cancelled", "actions": [], "message": "Stopped"}]},
    )
    stage.until_text("Reading prices")
    stage.click(".deeds button")
    stage.until_text("Really cancel?")
    stage.click(".deeds button")
    stage.until_text("Cancelled")
    assert stage.calls() == [{"tool": "cancel", "arguments": {"id": "j1"}}]


def test_a_job_of_unknown_length_has_no_number(stage: Stage) -> None:
    stage.template("progress", {"title": "Looking", "status": "running", "message": "Asking"})
    stage.until_text("Asking")
    assert (
        stage.frame("document.querySelector('[role=progressbar]').hasAttribute('aria-valuenow')")
        is False
    )
