"""What a route says about keeping its answers."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from starlette.requests import Request

from backstay.cache.times import seconds_of
from backstay.errors import BadCache

__all__ = ["KEPT_STATUSES", "Policy", "TagMaker", "policy_of"]

_ATTRIBUTE = "__backstay_cache_policy__"

TagMaker: TypeAlias = Callable[[Request], str | Iterable[str]]
"""Says the tags of a request's answer."""

KEPT_STATUSES = (200, 203, 204, 300, 301, 308)
"""Of those that may be kept without anybody saying so (RFC 9110 §15.1), the ones of success."""

# Answers to a part of a request, or about what the client has, which are no answers for others.
_NEVER = frozenset((206, 304))

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Policy:
    """How one route's answers are kept. ``cache_redis`` documents the options.

    Attributes:
        ttl_s: seconds that an answer is good.
        stale_s: seconds after these that it is better than nothing.
        public: everybody may be given the same answer.
        early: they are given it before routing.
        vary: names of headers, in lower case, that the answer depends on.
        tags: static tags, templates over parameters, and functions.
        key: what stands for path and query; ``None``: these do.
        max_age_s: seconds that anybody may use a public answer without asking again. ``None``: as
            long as it is good, or not at all if it can be invalidated, which browsers do not hear.
        private_max_age_s: seconds that a browser may use a private one.
        statuses: status codes of answers that are kept.
        revalidate: whether clients may have an answer made anew by ``Cache-Control: no-cache``.
    """

    ttl_s: float
    stale_s: float
    public: bool
    early: bool
    vary: tuple[str, ...]
    tags: tuple[str | TagMaker, ...]
    key: Callable[[Request], str] | None
    max_age_s: float | None
    private_max_age_s: float
    statuses: frozenset[int]
    revalidate: bool

    @classmethod
    def of(
        cls,
        *,
        ttl: float | timedelta,
        stale: float | timedelta = 0,
        public: bool = False,
        early: bool = False,
        vary: Iterable[str] = (),
        tags: Iterable[str | TagMaker] = (),
        key: Callable[[Request], str] | None = None,
        max_age: float | timedelta | None = None,
        private_max_age: float | timedelta = 0,
        statuses: Collection[int] = KEPT_STATUSES,
        revalidate: bool | None = None,
    ) -> Policy:
        """The policy that these options of ``cache_redis`` mean.

        Raises:
            BadCache: one of them makes no sense.
        """
        ttl_s = seconds_of(ttl, "cache_ttl")
        if early and not public:
            raise BadCache(
                "early=True without public=True: before routing nobody knows yet who is asking, "
                "so only answers for everybody can be given there; say public=True if they are"
            )
        if key is not None and not callable(key):
            raise BadCache(
                f"key= is a function of the request that gives a text; got {key!r} of type "
                f"{type(key).__qualname__}"
            )
        return cls(
            ttl_s=ttl_s,
            stale_s=seconds_of(stale, "stale", zero=True),
            public=bool(public),
            early=bool(early),
            vary=_header_names(vary),
            tags=_tags(tags),
            key=key,
            max_age_s=None if max_age is None else seconds_of(max_age, "max_age", zero=True),
            private_max_age_s=seconds_of(private_max_age, "private_max_age", zero=True),
            statuses=_statuses(statuses),
            # Whoever may have a shared answer made anew at will can keep a server busy with it.
            revalidate=not public if revalidate is None else bool(revalidate),
        )

    def mark(self, handler: object) -> None:
        """Let ``policy_of`` find this on a handler."""
        setattr(handler, _ATTRIBUTE, self)

    @property
    def cache_control(self) -> tuple[str, bool]:
        """``Cache-Control`` for an answer that brings none, and whether ``Age`` goes with it."""
        word = "public" if self.public else "private"
        if not self.public:
            seconds: float | None = self.private_max_age_s
        elif self.max_age_s is None and self.tags:
            seconds = 0.0
        else:
            seconds = self.max_age_s
        if seconds is None:
            stale = f", stale-while-revalidate={int(self.stale_s)}" if self.stale_s >= 1 else ""
            return f"{word}, max-age={int(self.ttl_s)}{stale}", True
        if seconds < 1:
            return f"{word}, max-age=0, must-revalidate", True
        return f"{word}, max-age={int(min(seconds, self.ttl_s))}", False

    @property
    def tag_fields(self) -> frozenset[str]:
        """The names of parameters in templates of tags."""
        return frozenset(
            field for tag in self.tags if isinstance(tag, str) for field in _fields_of(tag)
        )

    def tags_of(self, request: Request, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """The tags of one answer, each once.

        Args:
            request: the request.
            arguments: what the handler is called with. What is not among these is taken from the
                path.

        Raises:
            BadCache: a function gave something else than texts.
        """
        found: dict[str, None] = {}
        values: dict[str, Any] | None = None
        for tag in self.tags:
            if isinstance(tag, str):
                if "{" in tag or "}" in tag:
                    if values is None:
                        values = {**request.path_params, **arguments}
                    found[string.Formatter().vformat(tag, (), values)] = None
                else:
                    found[tag] = None
            else:
                made = tag(request)
                for each in (made,) if isinstance(made, str) else tuple(made):
                    if not isinstance(each, str):
                        raise BadCache(
                            f"a function in tags= gave {each!r} of type "
                            f"{type(each).__qualname__}; tags are texts"
                        )
                    found[each] = None
        return tuple(found)


def policy_of(handler: object) -> Policy | None:
    """The policy that ``Policy.mark`` gave a handler, ``None`` if there is none."""
    found: Policy | None = getattr(handler, _ATTRIBUTE, None)
    return found


def _header_names(vary: Iterable[str]) -> tuple[str, ...]:
    names = _several(vary, "vary", "names of headers")
    for name in names:
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or name == "*":
            raise BadCache(
                f"vary= holds {name!r}, which is no name of a header; write such as "
                '["Accept-Language"]'
            )
    return tuple(dict.fromkeys(name.lower() for name in names))


def _tags(tags: Iterable[str | TagMaker]) -> tuple[str | TagMaker, ...]:
    if callable(tags):
        tags = (tags,)
    found = _several(tags, "tags", "texts and functions")
    for tag in found:
        if isinstance(tag, str):
            _fields_of(tag)
        elif not callable(tag):
            raise BadCache(
                f"tags= holds {tag!r} of type {type(tag).__qualname__}; a tag is a text such as "
                '"products", a template such as "product:{item_id}", or a function of the request'
            )
    return tuple(found)


def _fields_of(tag: str) -> list[str]:
    """Raises: BadCache: it is no template, or one of more than names of parameters."""
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(tag) if name is not None]
    except ValueError as error:
        raise BadCache(f"the tag {tag!r} is no template: {error}; write {{{{ for a brace") from None
    for name in fields:
        if not name.isidentifier():
            raise BadCache(
                f"the tag {tag!r} has the field {name!r}, which is no name of a parameter; use a "
                "function of the request for anything else"
            )
    return fields


def _statuses(statuses: Collection[int]) -> frozenset[int]:
    for status in statuses:
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
            raise BadCache(f"statuses= holds {status!r}, which is no status of an answer")
        if status in _NEVER:
            raise BadCache(
                f"statuses= holds {int(status)}, which answers what one client asked about, and "
                "is of no use to another; leave it out"
            )
    return frozenset(int(status) for status in statuses)


def _several(values: Iterable[Any], name: str, of: str) -> list[Any]:
    if isinstance(values, str | bytes):
        raise BadCache(f"{name}= is several {of}; got the one {values!r}: write [{values!r}]")
    try:
        return list(values)
    except TypeError:
        raise BadCache(f"{name}= is several {of}; got {values!r}") from None
