"""What was seen at each place of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from backstay.integration.sample_models.text_formats import formats_of

__all__ = ["MANY_VALUES", "Shape"]

MANY_VALUES = 200
"""Different texts that are remembered at a place; with more, it is no place of choices."""

_LONGEST_CHOICE = 100
_EXACT = 2**53  # integers up to here are the same as floats (IEEE 754, 53 bits)


class Shape:
    """What was seen at one place: of which kinds, and what was below it.

    Attributes:
        seen: how many values.
        nulls: whether null was among them. So with ``bools``, ``ints``, ``floats``.
        large: whether an integer was among them that a float cannot hold.
        texts: how many texts.
        formats: formats that all texts have.
        values: the different texts and how often each was there; ``None`` if there are too many,
            or long ones.
        lists: how many lists.
        items: what was in them, ``None`` if nothing was.
        objects: how many objects.
        fields: what was at their keys, in the order they were first seen.
        again: the shape that tells of the objects here instead, as it is the same.
        into: the place that has seen what this one saw, which is given up.
        mapped: what was at all keys together, if they are data and no names.
    """

    __slots__ = (
        "again",
        "bools",
        "fields",
        "floats",
        "formats",
        "into",
        "ints",
        "items",
        "large",
        "lists",
        "mapped",
        "nulls",
        "objects",
        "seen",
        "texts",
        "values",
    )

    def __init__(self) -> None:
        self.seen = 0
        self.nulls = self.bools = self.ints = self.floats = self.large = False
        self.texts = 0
        self.formats: frozenset[str] = frozenset()
        self.values: dict[str, int] | None = {}
        self.lists = 0
        self.items: Shape | None = None
        self.objects = 0
        self.fields: dict[str, Shape] = {}
        self.again: Shape | None = None
        self.into: Shape | None = None
        self.mapped: Shape | None = None

    def observe(self, value: Any) -> None:
        """See a JSON value at this place."""
        self.seen += 1
        if value is None:
            self.nulls = True
        elif isinstance(value, bool):
            self.bools = True
        elif isinstance(value, int):
            self.ints = True
            self.large = self.large or not -_EXACT <= value <= _EXACT
        elif isinstance(value, float):
            self.floats = True
        elif isinstance(value, str):
            self._observe_text(value)
        elif isinstance(value, list):
            self.lists += 1
            for each in value:
                if self.items is None:
                    self.items = Shape()
                self.items.observe(each)
        else:
            self.objects += 1
            for key, inner in value.items():
                field = self.fields.get(key)
                if field is None:
                    field = self.fields[key] = Shape()
                field.observe(inner)

    def _observe_text(self, text: str) -> None:
        if not self.texts:
            self.formats = formats_of(text)
        elif self.formats:
            self.formats &= formats_of(text)
        self.texts += 1
        if self.values is not None:
            if len(text) > _LONGEST_CHOICE:
                self.values = None
                return
            self.values[text] = self.values.get(text, 0) + 1
            if len(self.values) > MANY_VALUES:
                self.values = None

    def absorb(self, other: Shape) -> None:
        """See here too what was seen at another place, which is given up."""
        _absorb_all([(self, other)])

    @property
    def home(self) -> Shape:
        """Where the objects of this place are told: here, unless they have a shape seen before."""
        home = self
        while home.again is not None:
            home = home.again
        return home

    @property
    def has_objects(self) -> bool:
        """Whether objects were seen at this place, wherever they are told."""
        return self.objects > 0 or self.again is not None

    def find_recursion(self) -> None:
        """Find objects that have the shape of one above them, as in a tree, and see them there.

        An object is taken for one above it if the key that leads down from that one is among its
        own, and the keys of one are all among the other's, two or more of them.
        """
        # Not any(): it would stop at the first.
        while sum(_fold(shape, above) for shape, above in list(_below(self, (), set()))):
            pass

    def find_maps(self, is_map: Callable[[Shape, str], bool]) -> None:
        """See objects whose keys are data as maps.

        Args:
            is_map: whether an object is one, told its shape and the key it is at; the key is empty
                where there is none, and for what is in a map.
        """
        # No list of what is below: of a thousand objects in a map only their union is visited.
        while sum(_turn(shape, above, is_map) for shape, above in _below(self, (), set())):
            pass


def _together(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int] | None:
    if one is None or other is None:
        return None
    for text, count in other.items():
        one[text] = one.get(text, 0) + count
    return one if len(one) <= MANY_VALUES else None


_Above = tuple[tuple[Shape, str | None], ...]


def _below(shape: Shape, above: _Above, met: set[int]) -> Iterator[tuple[Shape, _Above]]:
    """The shapes with objects, each with those above it and the keys that lead down from them.

    ``None`` instead of a key leads into a map. ``met`` are those that were told already.
    """
    home = shape.home
    if home.objects and id(home) not in met:
        met.add(id(home))
        yield home, above
        for key, inner in home.fields.items():
            yield from _below(inner, (*above, (home, key)), met)
        if home.mapped is not None:
            yield from _below(home.mapped, (*above, (home, None)), met)
    if shape.items is not None:
        yield from _below(shape.items, above, met)


def _absorb_all(pairs: list[tuple[Shape, Shape]]) -> None:
    """See at the first place of each pair what was seen at the second.

    One step at a time, and not by recursion: in trees, what a step joins may be what an earlier
    one is not done with.
    """
    while pairs:
        place, other = pairs.pop()
        while place.into is not None:
            place = place.into
        if place is other:
            continue
        other.into = place
        _absorb_values(place, other)
        if place.items is None:
            place.items = other.items
        elif other.items is not None:
            pairs.append((place.items, other.items))
        if not other.has_objects:
            continue
        if place.has_objects:
            pairs += _joined(place.home, other.home)
        else:
            place.again = other.home


def _absorb_values(place: Shape, other: Shape) -> None:
    place.seen += other.seen
    place.nulls = place.nulls or other.nulls
    place.bools = place.bools or other.bools
    place.ints = place.ints or other.ints
    place.floats = place.floats or other.floats
    place.large = place.large or other.large
    place.lists += other.lists
    if other.texts:
        place.formats = place.formats & other.formats if place.texts else other.formats
        place.texts += other.texts
        place.values = _together(place.values, other.values)


def _joined(home: Shape, other: Shape) -> list[tuple[Shape, Shape]]:
    """Tell the objects of both in the first from now on. Returns what has to be absorbed for it."""
    if home is other:
        return []
    home.objects += other.objects
    other.objects, other.again = 0, home
    fields, other.fields = other.fields, {}
    mapped, other.mapped = other.mapped, None
    if mapped is not None or home.mapped is not None:
        wanted = [*fields.values(), *([] if mapped is None else [mapped])]
        return [*_mapped(home), *((_map_of(home), each) for each in wanted)]
    pairs: list[tuple[Shape, Shape]] = []
    for key, inner in fields.items():
        known = home.fields.setdefault(key, inner)
        if known is not inner:
            pairs.append((known, inner))
    return pairs


def _mapped(shape: Shape) -> list[tuple[Shape, Shape]]:
    """Tell objects as maps from now on. Returns what has to be absorbed for it."""
    fields, shape.fields = shape.fields, {}
    return [(_map_of(shape), each) for each in fields.values()]


def _map_of(shape: Shape) -> Shape:
    if shape.mapped is None:
        shape.mapped = Shape()
    return shape.mapped


def _turn(shape: Shape, above: _Above, is_map: Callable[[Shape, str], bool]) -> bool:
    if not above or not shape.fields or not is_map(shape, above[-1][1] or ""):
        return False
    _absorb_all(_mapped(shape))
    return True


def _fold(shape: Shape, above: _Above) -> bool:
    if not shape.objects:
        return False  # folded a moment ago
    keys = shape.fields.keys()
    for ancestor, key in reversed(above):
        home = ancestor.home
        others = home.fields.keys()
        if (
            home is not shape
            and key in keys
            and len(keys & others) >= 2
            and (keys <= others or others <= keys)
        ):
            _absorb_all(_joined(home, shape))
            return True
    return False
