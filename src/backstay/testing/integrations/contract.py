"""Whether recorded answers, or those of today, are what endpoints declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError

from backstay.errors import BadAnswer, BadIntegration, ContractBroken
from backstay.integration.http.answer_rules import AnswerRules
from backstay.integration.http.declaration import EndpointsDeclaration
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.stand_in import StandIn
from backstay.testing.integrations.block import Block
from backstay.testing.integrations.body import read_body
from backstay.testing.integrations.exchange import Exchange
from backstay.testing.integrations.recorder import Recorder
from backstay.testing.integrations.redaction import MASK, NIL
from backstay.testing.integrations.tape import Tape, load

__all__ = ["check_contract", "check_live"]

_LIVE: Final = "live"


def check_contract(
    path: str | Path, *declarations: type[EndpointsDeclaration], strict: bool = False
) -> int:
    """Compare recorded answers with what endpoints declare today.

    Each answer is read as it was when it was recorded: by the success side of the endpoint's
    annotation, or by the model of ``SchemaError`` for its status. Where the method made something
    else of the answer, that is compared. What was masked is left alone.

    Args:
        path: of a tape, or of a folder with tapes, at any depth.
        declarations: whose endpoints; calls of others are left alone.
        strict: also tell of fields that models do not know.

    Returns:
        How many answers were compared.

    Raises:
        ContractBroken: some do not fit. It lists each with file, endpoint, status and field.
        BadIntegration: there is nothing to compare, which is no success.
    """
    root = Path(path)
    files = sorted(root.rglob("*.json")) if root.is_dir() else [root]
    check = _Check(declarations, strict=strict)
    for each in files:
        check.add(each.relative_to(root).as_posix() if root.is_dir() else each.name, load(each))
    return check.finish(f"no answer of {check.names} is in {root}, in {len(files)} files")


def check_live(*declarations: type[EndpointsDeclaration], strict: bool = False) -> Block[Tape]:
    """The same for answers of today: calls go through, and at the end what came is compared.

    A decorator of functions, async or not, and a context manager, ``with`` or ``async with``. Nothing
    is written.

    Args:
        declarations: as of ``check_contract``.
        strict: likewise.

    Raises:
        ContractBroken: at the end, unless the block itself has raised.
        BadIntegration: likewise, if nothing was called.
    """
    return _Live(_Check(declarations, strict=strict))


class _Live(Block[Tape]):
    def __init__(self, check: _Check) -> None:
        super().__init__()
        self._check = check

    def _begin(self, function: str | None, outer: StandIn | None) -> tuple[Tape, StandIn]:
        made = Tape(None, "record")
        return made, Recorder(made)

    def _end(self, subject: Tape, *, failed: bool) -> None:
        if failed:
            return
        check = self._check.anew()
        check.add(_LIVE, subject.exchanges)
        check.finish(f"nothing of {check.names} was called")


@dataclass(frozen=True)
class _Recorded:
    """An answer as responses are read."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


class _Check:
    def __init__(self, declarations: Sequence[type[EndpointsDeclaration]], *, strict: bool) -> None:
        for each in declarations:
            if not (isinstance(each, type) and issubclass(each, EndpointsDeclaration)):
                raise BadIntegration(
                    f"a contract is of classes such as NameIntegration; got {each!r}"
                )
        if not declarations:
            raise BadIntegration(
                "say whose answers are compared: check_contract(path, NameIntegration)"
            )
        self._declarations = declarations
        self._strict = strict
        self._endpoints = {
            endpoint.label: (kind, endpoint)
            for kind in declarations
            for endpoint in kind.endpoints().values()
        }
        self._integrations = {kind.integration.name for kind in declarations}
        self._faults: list[str] = []
        self._compared = 0

    @property
    def names(self) -> str:
        return ", ".join(each.__name__ for each in self._declarations)

    def anew(self) -> _Check:
        return _Check(self._declarations, strict=self._strict)

    def add(self, file: str, exchanges: Iterable[Exchange]) -> None:
        for each in exchanges:
            known = self._endpoints.get(each.endpoint)
            if known is not None:
                if "status" in each.answer:
                    faults = list(self._faults_of(each, *known))
                    where = f"{file}: {each.endpoint}, status {each.answer['status']}"
                    self._faults += [f"{where}: {fault}" for fault in dict.fromkeys(faults)]
            elif each.endpoint.rpartition(".")[0] in self._integrations:
                self._compared += 1
                self._faults.append(
                    f"{file}: {each.endpoint} is no endpoint any more; record the tape anew"
                )

    def finish(self, nothing: str) -> int:
        if not self._compared:
            raise BadIntegration(f"{nothing}; there is nothing to compare")
        if self._faults:
            told = "\n".join(f"  {each}" for each in self._faults)
            raise ContractBroken(
                f"{len(self._faults)} times, answers are not what {self.names} declares:\n{told}",
                faults=tuple(self._faults),
            )
        return self._compared

    def _faults_of(
        self, exchange: Exchange, kind: type[EndpointsDeclaration], endpoint: Endpoint
    ) -> Iterator[str]:
        rules = endpoint.answers(kind)
        status = exchange.answer["status"]
        body = exchange.answer.get("body", {})
        returned = exchange.returned
        is_error = rules.is_error(status)
        if body.get("cut") or (not is_error and returned is not None and "part" in returned):
            return
        self._compared += 1
        if not is_error and returned is not None:
            values = returned["items"] if "items" in returned else [returned.get("json")]
            for each in values:
                yield from self._read(rules, each, each, status)
            return
        headers = dict(exchange.answer.get("headers", ()))
        content = read_body(body, headers.get("content-type", ""))
        data = body.get("json", body.get("text"))
        if is_error and not hasattr(rules.success, "raise_for_status"):
            yield from self._read_error(rules, status, content, data)
        else:
            yield from self._read(rules, _Recorded(status, headers, content), data, status)

    def _read_error(
        self, rules: AnswerRules, status: int, content: bytes, data: Any
    ) -> Iterator[str]:
        if status < 400:
            yield "it leads elsewhere, and is not followed"
            return
        # Not by the rules: they forgive a body that is none of a model's which nobody gets.
        model = rules.error_model(status)
        if model is None:
            yield f"SchemaError has no http{status} and no http{status // 100}xx"
            return
        try:
            found = model.model_validate_json(content or b"null")
        except ValidationError as error:
            yield from _told(error, data)
            return
        if self._strict:
            yield from _unknown_fields(found, data, "")

    def _read(self, rules: AnswerRules, result: Any, data: Any, status: int) -> Iterator[str]:
        try:
            found = rules.read(result, None, status)
        except BadAnswer as error:
            cause = error.__cause__
            if isinstance(cause, ValidationError):
                yield from _told(cause, data)
            else:
                yield str(error)
            return
        if self._strict:
            yield from _unknown_fields(found, data, "")


def _told(error: ValidationError, data: Any) -> Iterator[str]:
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        if not _is_masked(data, each["loc"]):
            yield f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}"


def _is_masked(data: Any, location: Sequence[int | str]) -> bool:
    """Whether what is wrong there is that a secret was removed."""
    value = data
    for each in location:
        is_item = isinstance(value, list) and isinstance(each, int) and each < len(value)
        if is_item or (isinstance(value, Mapping) and each in value):
            value = value[each]
        # Anything else is the name of a member of a union.
    return value == NIL or (isinstance(value, str) and MASK in value)


def _unknown_fields(found: Any, data: Any, path: str) -> Iterator[str]:
    if isinstance(found, BaseModel) and isinstance(data, Mapping):
        fields = {name: each for key in data for name, each in _field_of(type(found), key)}
        known = {key for key in data if list(_field_of(type(found), key))}
        if type(found).model_config.get("extra") != "allow":
            for key in data:
                if key not in known:
                    yield f"{path}{key}: no model has this field"
        for name, key in fields.items():
            yield from _unknown_fields(getattr(found, name), data[key], f"{path}{key}.")
    elif isinstance(found, list | tuple) and isinstance(data, list) and len(found) == len(data):
        for number, (one, other) in enumerate(zip(found, data, strict=True)):
            yield from _unknown_fields(one, other, f"{path}{number}.")
    elif isinstance(found, Mapping) and isinstance(data, Mapping):
        for key, value in data.items():
            if key in found:
                yield from _unknown_fields(found[key], value, f"{path}{key}.")


def _field_of(model: type[BaseModel], key: str) -> Iterator[tuple[str, str]]:
    """The field that is read from that key, and the key again; none, if there is none."""
    by_name = model.model_config.get("populate_by_name") or model.model_config.get(
        "validate_by_name"
    )
    for name, field in model.model_fields.items():
        alias = field.validation_alias or field.alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        keys = {each.path[0] if isinstance(each, AliasPath) else each for each in choices}
        if key in keys or (key == name and (alias is None or by_name)):
            yield name, key
