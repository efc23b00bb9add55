"""What tools would return to the ready templates."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote


def picture(seed: int, *, wide: bool = True) -> str:
    """A landscape as a data: URL: sky, sun, three ridges."""
    hue = seed * 47 % 360
    width, height = (480, 360) if wide else (360, 360)

    def ridge(level: float, lift: float, shift: float) -> str:
        points = " ".join(
            f"L{x} {level + lift * math.sin(x / 62 + shift) + lift * 0.5 * math.sin(x / 23 + shift * 2):.0f}"
            for x in range(0, width + 21, 20)
        )
        return f"M0 {height}{points}L{width + 20} {height}Z"

    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'>"
        f"<defs><linearGradient id='s' x2='0' y2='1'><stop stop-color='hsl({hue},55%,{72 - seed % 3 * 8}%)'/>"
        f"<stop offset='1' stop-color='hsl({hue + 40},70%,88%)'/></linearGradient></defs>"
        f"<rect width='{width}' height='{height}' fill='url(#s)'/>"
        f"<circle cx='{90 + seed * 61 % 280}' cy='{70 + seed * 29 % 70}' r='{26 + seed % 3 * 6}' fill='hsl({hue + 60},90%,95%)'/>"
        f"<path d='{ridge(height * 0.58, 26, seed)}' fill='hsl({hue + 20},32%,60%)'/>"
        f"<path d='{ridge(height * 0.72, 22, seed * 1.7)}' fill='hsl({hue + 10},34%,44%)'/>"
        f"<path d='{ridge(height * 0.86, 16, seed * 2.3)}' fill='hsl({hue},36%,28%)'/></svg>"
    )
    return "data:image/svg+xml," + quote(svg)


LIST: dict[str, Any] = {
    "title": "Saved places",
    "subtitle": "Lisbon, for the weekend",
    "items": [
        {
            "id": "1",
            "title": "Miradouro da Graça",
            "subtitle": "Terrace above the old town; the kiosk has coffee until eleven.",
            "image": picture(1),
            "badge": {"text": "Open", "tone": "good"},
            "meta": "1.2 km",
            "url": "https://example.com/graca",
            "action": {"label": "Save", "tool": "save", "arguments": {"id": "1"}},
        },
        {
            "id": "2",
            "title": "Museu Nacional do Azulejo",
            "subtitle": "Five centuries of tiles in a convent",
            "image": picture(5),
            "badge": {"text": "Closes 18:00", "tone": "warn"},
            "meta": "2.8 km",
            "action": {"label": "Save", "tool": "save", "arguments": {"id": "2"}},
        },
        {
            "id": "3",
            "title": "Livraria Ler Devagar",
            "subtitle": "Bookshop in a printing works",
            "meta": "4.1 km",
            "action": {"label": "Save", "tool": "save", "arguments": {"id": "3"}},
        },
        {
            "id": "4",
            "title": "Tascardoso",
            "subtitle": "Grilled sardines, no reservations",
            "badge": "Lunch",
            "meta": "0.6 km",
            "action": {
                "label": "Remove",
                "tool": "remove",
                "arguments": {"id": "4"},
                "confirm": True,
            },
        },
    ],
}

CAROUSEL: dict[str, Any] = {
    "title": "Cabins by the water",
    "subtitle": "Free from 12 to 15 June",
    "items": [
        {
            "id": str(number),
            "title": title,
            "subtitle": subtitle,
            "image": picture(number * 3) if number != 4 else None,
            "badge": badge,
            "meta": price,
            "action": {
                "label": "Book",
                "tool": "book",
                "arguments": {"id": str(number)},
                "primary": True,
            },
        }
        for number, (title, subtitle, badge, price) in enumerate(
            [
                (
                    "Lake house in Hallstatt",
                    "Sleeps 4, own jetty, sauna",
                    {"text": "Favourite", "tone": "accent"},
                    "€ 142",
                ),
                ("Boathouse", "Sleeps 2, kayaks included", None, "€ 96"),
                (
                    "Cabin in the reeds with a rather long name that needs two lines",
                    "Sleeps 6",
                    None,
                    "€ 180",
                ),
                ("Old mill", "Sleeps 8, no picture yet", "New", "€ 210"),
                (
                    "Fisherman's hut",
                    "Sleeps 2, wood stove, no road",
                    {"text": "Last one", "tone": "warn"},
                    "€ 74",
                ),
                ("Glass house", "Sleeps 2", None, "€ 260"),
            ],
            1,
        )
    ],
}

ALBUMS: dict[str, Any] = {
    "title": "Albums",
    "subtitle": "Shared with you",
    "albums": [
        {
            "id": f"a{number}",
            "title": title,
            "subtitle": when,
            "photos": [
                {
                    "id": f"{number}-{each}",
                    "image": picture(number * 7 + each),
                    "title": f"{title} {each + 1}",
                    "caption": "Taken from the ridge, just before the rain.",
                }
                for each in range(count)
            ],
        }
        for number, (title, when, count) in enumerate(
            [
                ("Dolomites", "August", 8),
                ("Coast path", "June", 5),
                ("At home", "All year", 1),
                ("To be sorted", "", 0),
            ],
            1,
        )
    ],
}

FORM: dict[str, Any] = {
    "title": "Plan a pick-up",
    "subtitle": "A courier comes on the next working day.",
    "schema": {
        "type": "object",
        "required": ["name", "email", "parcels", "size"],
        "properties": {
            "name": {
                "type": "string",
                "title": "Name",
                "minLength": 2,
                "examples": ["Ada Lovelace"],
            },
            "email": {
                "type": "string",
                "format": "email",
                "description": "The label is sent here.",
            },
            "parcels": {"type": "integer", "minimum": 1, "maximum": 20, "default": 1},
            "day": {
                "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
                "title": "Day",
            },
            "size": {"$ref": "#/$defs/Size"},
            "country": {
                "type": "string",
                "enum": ["at", "de", "fr", "it", "pt"],
                "enumNames": ["Austria", "Germany", "France", "Italy", "Portugal"],
            },
            "insured": {
                "type": "boolean",
                "title": "Insure it",
                "description": "Up to € 500, without extra cost.",
            },
            "photo": {
                "type": "string",
                "contentEncoding": "base64",
                "contentMediaType": "image/png",
                "title": "Photo of the parcel",
                "maxBytes": 64,
            },
            "address": {
                "type": "object",
                "title": "Address",
                "required": ["street"],
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            },
        },
        "$defs": {
            "Size": {"type": "string", "enum": ["small", "medium", "large"], "title": "Size"}
        },
    },
    "values": {"name": "Ada Lovelace", "size": "medium", "address": {"city": "London"}},
    "submit": {"tool": "plan", "label": "Book the pick-up", "arguments": {"source": "form"}},
}

CHART: dict[str, Any] = {
    "title": "Orders",
    "subtitle": "By week, both shops",
    "type": "area",
    "x": [
        "2026-03-02",
        "2026-03-09",
        "2026-03-16",
        "2026-03-23",
        "2026-03-30",
        "2026-04-06",
        "2026-04-13",
        "2026-04-20",
    ],
    "series": [
        {"name": "Vienna", "values": [412, 430, 398, 467, 520, 505, 561, 598]},
        {"name": "Lisbon", "values": [210, 248, 260, 255, 301, 340, 333, 372]},
    ],
    "note": "Returns are not taken off.",
}

LINE: dict[str, Any] = {
    **CHART,
    "type": "line",
    "series": [
        *CHART["series"],
        {"name": "Online", "values": [120, 160, None, 240, 280, 260, 310, 420]},
    ],
}
BAR: dict[str, Any] = {**CHART, "type": "bar", "unit": "€", "format": {"maximumFractionDigits": 0}}
DONUT: dict[str, Any] = {
    "title": "Where they came from",
    "type": "donut",
    "x": ["Search", "Newsletter", "Friends", "Social", "Press", "Fairs", "Posters", "Radio"],
    "series": [{"name": "Visitors", "values": [4200, 2600, 1900, 1100, 420, 260, 150, 60]}],
}

PROGRESS: dict[str, Any] = {
    "title": "Importing the catalogue",
    "subtitle": "spring-2026.csv",
    "status": "running",
    "done": 312,
    "total": 480,
    "message": "Reading prices",
    "steps": [
        {"title": "Upload", "status": "done", "note": "2.1 MB in 3 s"},
        {"title": "Check the columns", "status": "done"},
        {"title": "Read products", "status": "running", "note": "312 of 480"},
        {"title": "Publish", "status": "waiting"},
    ],
    "poll": {"tool": "job_status", "arguments": {"id": "j1"}, "every_ms": 250},
    "actions": [
        {
            "label": "Cancel",
            "tool": "cancel",
            "arguments": {"id": "j1"},
            "confirm": "Really cancel?",
        }
    ],
}

FINISHED: dict[str, Any] = {
    **PROGRESS,
    "status": "succeeded",
    "done": 480,
    "message": "All products are in the shop.",
    "steps": [{**each, "status": "done", "note": None} for each in PROGRESS["steps"]],
    "result": {"products": 480, "new": 61, "skipped": 3},
    "actions": [],
}

SAMPLES: dict[str, dict[str, Any]] = {
    "albums": ALBUMS,
    "carousel": CAROUSEL,
    "chart": CHART,
    "form": FORM,
    "list": LIST,
    "progress": PROGRESS,
}
