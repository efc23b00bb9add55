"""The document about an app's integrations, as JSON: what is declared, and how it goes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from backstay.events.masking import MASK, Masking
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.page.annotation_text import annotation_text, default_text
from backstay.integration.page.answer_schema import schema_of
from backstay.integration.stability.pattern import AppliedPattern, patterns_of
from backstay.web.safe_values import safe_json

__all__ = ["Documentation", "DocumentedService", "document"]

_MOST_STATES: Final = 20
"""So many states of one pattern are told: keys may be many."""
_LONGEST_KEY: Final = 80
_SECRETS: Final = Masking()

_BY_STATUS: Final = re.compile(r"http([1-5][0-9]{2}|[45]xx)", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"{([A-Za-z_]\w*)(?::\w+)?}")
_STARS: Final[Mapping[Any, str]] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_TROUBLE_FIRST: Final = {"open": 0, "half-open": 1}


class DocumentedService(Protocol):
    """What every integration has. Those declared with ``EndpointsDeclaration`` say more."""

    @property
    def integration(self) -> Any:
        """The service: it has a ``name`` and ``docs``."""

    @property
    def base_url(self) -> str:
        """Where it is."""


def document(integrations: Iterable[DocumentedService]) -> dict[str, Any]:
    """Everything that is known of these integrations, as JSON.

    Values of credentials, and userinfo, query and fragment of addresses, are not in it. What cannot
    be told, such as the schema of an odd model, is replaced by a sentence that says so; nothing here
    raises because of one integration.

    Args:
        integrations: instances of declarations, or whatever has an ``integration`` (with ``name``
            and ``docs``) and a ``base_url``.

    Returns:
        ``{"integrations": [...]}``. Each has ``id``, ``name``, ``doc``, ``class``, ``instance``
        (what tells it from others of its class), ``base_url``, ``credentials`` (names), ``client``,
        ``auth`` and ``endpoints``. Each of these has ``id``
        (``"google-translate.translate"``), ``name``, ``method``, ``path``, ``version``, ``docurl``,
        ``doc``, ``is_stream``, ``parameters`` (``name``, ``type``, ``where``: ``path`` or
        ``argument``, ``default`` where there is one), ``returns``, ``success`` (``type`` and
        ``schema``), ``errors`` (``name``, ``status``, ``schema``, and ``is_returned``: otherwise
        it is raised), ``patterns`` (``name`` and ``options``, the outermost first) and ``live``.
        ``live`` has ``patterns`` (for each of them the list of its states) and ``statistics``, see
        ``CallStatistics.snapshot``; it is ``None`` where nobody counts.
    """
    made = Documentation(integrations)
    live = made.live()
    found = made.declared()
    for integration in found["integrations"]:
        for endpoint in integration["endpoints"]:
            endpoint["live"] = live.get(endpoint["id"])
    return found


class Documentation:
    """The document in two parts: what stays as it is, and what changes with each call.

    Args:
        integrations: see ``document``.
    """

    def __init__(self, integrations: Iterable[DocumentedService]) -> None:
        self._services: list[tuple[str, DocumentedService]] = []
        taken: set[str] = set()
        for each in integrations:
            name = _told(lambda each=each: str(each.integration.name), "?")  # type: ignore[misc]  # bound now
            plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "integration"
            found, number = plain, 1
            while found in taken:
                number += 1
                found = f"{plain}-{number}"
            taken.add(found)
            self._services.append((found, each))

    def declared(self) -> dict[str, Any]:
        """What stays as it is, while the process runs."""
        made = {"integrations": [_integration(name, each) for name, each in self._services]}
        found: dict[str, Any] = safe_json(made)
        return found

    def live(self, *, since: int | None = None) -> dict[str, dict[str, Any]]:
        """How it goes, by endpoints' ids.

        Args:
            since: as for ``CallStatistics.snapshot``.
        """
        found: dict[str, dict[str, Any]] = {}
        for name, service in self._services:
            for each in _endpoints(service).values():
                found[f"{name}.{each.name}"] = _live(service, each, since)
        return found


def _integration(id_: str, service: DocumentedService) -> dict[str, Any]:
    declared = _told(lambda: service.integration, None)
    docs = _told(lambda: declared.docs, None)
    made: dict[str, Any] = {
        "id": id_,
        "name": _told(lambda: str(declared.name), "?"),
        "doc": _told(lambda: _doc_of(declared, docs), ""),
        "instance": _told(lambda: getattr(service, "instance_name", None), None),
        "class": type(service).__qualname__.rpartition("<locals>.")[2],
        "base_url": _plain_url(_told(lambda: str(service.base_url), "")),
        "credentials": _told(lambda: _names_of(service), []),
        "client": _told(lambda: getattr(service, "client_name", None), None),
        "auth": _told(lambda: _type_of(getattr(service, "auth", None)), None),
        "endpoints": [],
    }
    endpoints = _endpoints(service)
    if endpoints:
        made["endpoints"] = [_endpoint(id_, service, each) for each in endpoints.values()]
    elif isinstance(docs, Mapping) and isinstance(docs.get("methods"), list | tuple):
        # Another library's: it says of its endpoints what ``IntegrationHTTP.docs`` says.
        methods = [each for each in docs["methods"] if isinstance(each, Mapping)]
        made["endpoints"] = [_noted(id_, each) for each in methods]
    return made


def _endpoints(service: DocumentedService) -> Mapping[str, Endpoint]:
    declared = getattr(type(service), "endpoints", None)
    if not callable(declared):
        return {}
    found = _told(declared, {})
    return found if isinstance(found, Mapping) else {}


def _endpoint(id_: str, service: DocumentedService, endpoint: Endpoint) -> dict[str, Any]:
    return {
        **_head(id_, endpoint.name, endpoint.method.value, endpoint.path),
        "version": endpoint.version,
        "docurl": endpoint.docurl,
        "doc": endpoint.doc,
        "is_stream": endpoint.is_stream,
        "parameters": _told(lambda: _parameters(endpoint), []),
        "returns": _told(lambda: annotation_text(endpoint.signature.return_annotation), ""),
        **_answers(service, endpoint),
        "patterns": [
            {"name": each.name, "options": _told(lambda each=each: dict(each.options), {})}  # type: ignore[misc]  # bound now
            for each in _patterns(endpoint)
        ],
    }


def _noted(id_: str, method: Mapping[str, Any]) -> dict[str, Any]:
    """An endpoint of which there is nothing but a note."""
    verb = method.get("httpmethod", "")
    notes = method.get("annotations")
    annotations = notes if isinstance(notes, Mapping) else {}
    path = str(method.get("path", ""))
    in_path = set(_PLACEHOLDER.findall(path))
    return {
        **_head(id_, str(method.get("name", "?")), str(getattr(verb, "value", verb)), path),
        "version": str(method.get("version") or ""),
        "docurl": str(method.get("docurl") or ""),
        "doc": inspect.cleandoc(str(method.get("docstring") or "")),
        "is_stream": False,
        "parameters": [
            {"name": name, "type": str(kind), "where": "path" if name in in_path else "argument"}
            for name, kind in annotations.items()
            if name not in {"api", "return"}
        ],
        "returns": str(annotations.get("return", "")),
        "success": None,
        "errors": [],
        "patterns": [],
    }


def _head(id_: str, name: str, method: str, path: str) -> dict[str, Any]:
    return {"id": f"{id_}.{name}", "name": name, "method": method.upper(), "path": path}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    in_path = set(_PLACEHOLDER.findall(endpoint.path))
    found = []
    for each in list(endpoint.signature.parameters.values())[1:]:  # the first is the api
        told: dict[str, Any] = {
            "name": _STARS.get(each.kind, "") + each.name,
            "type": annotation_text(each.annotation),
            "where": "path" if each.name in in_path else "argument",
        }
        default = default_text(each)
        if default is not None:
            told["default"] = default
        found.append(told)
    return found


def _answers(service: DocumentedService, endpoint: Endpoint) -> dict[str, Any]:
    try:
        rules = endpoint.answers(type(service))
        errors = []
        for name, model in rules.errors.items():
            by_status = _BY_STATUS.fullmatch(name)
            is_returned = model in rules.returned
            if by_status is not None or is_returned:  # others are parts of these
                errors.append(
                    {
                        "name": name,
                        "status": by_status[1].lower() if by_status is not None else None,
                        "is_returned": is_returned,
                        "schema": schema_of(model),
                    }
                )
        errors.sort(key=lambda each: str(each["status"] or "~"))
        success = {
            "type": annotation_text(rules.success).replace(f"{type(service).__name__}.", ""),
            "schema": schema_of(rules.success),
        }
    except Exception as error:  # an annotation that cannot be resolved, say
        return {
            "success": {"type": "", "schema": {"x-not-described": _first_line(error)}},
            "errors": [],
        }
    return {"success": success, "errors": errors}


def _patterns(endpoint: Endpoint) -> Sequence[AppliedPattern]:
    found: Sequence[AppliedPattern] = _told(lambda: patterns_of(endpoint.func), [])
    return found


def _live(service: DocumentedService, endpoint: Endpoint, since: int | None) -> dict[str, Any]:
    owner = _told(lambda: getattr(service, "owner", service), service)
    states = []
    for each in _patterns(endpoint):
        found = _told(lambda each=each: list(each.live(owner)), [])  # type: ignore[misc]  # bound now
        found.sort(key=lambda state: _TROUBLE_FIRST.get(str(state.get("state")), 2))
        states.append([_shown(state, service) for state in found[:_MOST_STATES]])
    counted = _told(lambda: getattr(service, "statistics", None), None)
    statistics = (
        None
        if counted is None
        else _told(lambda: counted.snapshot(endpoint.name, since=since), None)
    )
    return {"patterns": safe_json(states), "statistics": statistics}


def _shown(state: dict[str, Any], service: DocumentedService) -> dict[str, Any]:
    """A state with a key for people: whoever calls chose it, so it may be long, or a secret."""
    key = state.get("key")
    if not isinstance(key, str):
        return state
    credentials = getattr(service, "credentials", None)
    known = credentials.values() if isinstance(credentials, Mapping) else ()
    if any(isinstance(each, str) and len(each) > 3 and each in key for each in known):
        return {**state, "key": MASK}
    key = _SECRETS.text(key, most=_LONGEST_KEY + 1)
    cut = key if len(key) <= _LONGEST_KEY else f"{key[: _LONGEST_KEY - 1]}…"
    return {**state, "key": cut}


def _doc_of(declared: Any, docs: Any) -> str:
    doc = getattr(declared, "doc", None)
    if not isinstance(doc, str) and isinstance(docs, Mapping):
        doc = docs.get("docstring")
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _plain_url(url: str) -> str:
    """Scheme, host, port and path: what else there is may be a secret."""
    try:
        parts = urlsplit(url)
        if not parts.hostname:
            return parts.path
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _names_of(service: DocumentedService) -> list[str]:
    credentials = getattr(service, "credentials", None)
    return [str(each)[:100] for each in credentials] if isinstance(credentials, Mapping) else []


def _type_of(value: object) -> str | None:
    if value is None:
        return None
    kind = value if isinstance(value, type) else type(value)
    package = kind.__module__.partition(".")[0]
    return (
        kind.__qualname__
        if package in {"builtins", "backstay"}
        else f"{package}.{kind.__qualname__}"
    )


def _told(ask: Callable[[], Any], otherwise: Any) -> Any:
    """What ``ask`` says, ``otherwise`` if it fails: one odd integration must not hide the others."""
    try:
        return ask()
    except Exception:
        return otherwise


def _first_line(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:300]
