import base64
import json
import sys
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr
from typing_extensions import TypedDict

from backstay.errors import BadJob, MissingExtra, SettingMissing
from backstay.jobs.arguments import Arguments, Result, UnreadableArguments
from backstay.jobs.secret import MASK, SETTING, Sealer, Secret, Unsealable, mask
from backstay.settings import Settings

OLD = "an old key of some length"
NEW = "a new key of some length!"
SEALER = Sealer([NEW, OLD])

NUMBER = "4111 1111 1111 1111"


def pay(order_id: int, card: Annotated[str, Secret], note: str = "") -> None: ...


PAY = Arguments(pay, name="shop.pay")


def value_of(text: str, parameter: str = "card") -> str:
    sealed: str = json.loads(text)[parameter]["$sealed"]
    return sealed


class TestSealer:
    @given(value=st.binary(max_size=300), task=st.text(), parameter=st.text())
    def test_what_was_sealed_opens_for_its_task_and_parameter(
        self, value: bytes, task: str, parameter: str
    ) -> None:
        token = SEALER.seal(value, task=task, parameter=parameter)
        assert SEALER.unseal(token, tasks=[task], parameter=parameter) == value

    def test_the_same_value_is_sealed_differently_each_time(self) -> None:
        assert len({SEALER.seal(b"x", task="t", parameter="p") for _ in range(50)}) == 50

    def test_the_first_key_seals_and_all_of_them_open(self) -> None:
        before = Sealer([OLD]).seal(b"x", task="t", parameter="p")
        after = SEALER.seal(b"x", task="t", parameter="p")
        assert SEALER.unseal(before, tasks=["t"], parameter="p") == b"x"
        assert Sealer([NEW]).unseal(after, tasks=["t"], parameter="p") == b"x"
        with pytest.raises(Unsealable):
            Sealer([OLD]).unseal(after, tasks=["t"], parameter="p")

    def test_a_missing_key_is_told_by_its_id_and_the_remedy(self) -> None:
        token = Sealer([OLD]).seal(b"x", task="t", parameter="card")
        with pytest.raises(Unsealable, match=rf"'card' was sealed with the key \w{{8}}.*{SETTING}"):
            Sealer([NEW]).unseal(token, tasks=["t"], parameter="card")

    def test_a_value_does_not_open_as_another_tasks_or_parameters(self) -> None:
        token = SEALER.seal(b"x", task="pay", parameter="card")
        for task, parameter in (("mail", "card"), ("pay", "note"), ("pay\0", "card")):
            with pytest.raises(Unsealable, match="altered, or was sealed for another"):
                SEALER.unseal(token, tasks=[task], parameter=parameter)

    def test_a_value_that_was_altered_anywhere_does_not_open(self) -> None:
        token = SEALER.seal(b"some value", task="t", parameter="p")
        raw = base64.urlsafe_b64decode(token)
        for place in range(len(raw)):
            altered = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
            with pytest.raises(Unsealable):
                SEALER.unseal(
                    base64.urlsafe_b64encode(altered).decode(), tasks=["t"], parameter="p"
                )

    @pytest.mark.parametrize("token", ["", "x", "no base64!", "äöü", "AQ==", "A" * 40])
    def test_damage_is_unsealable_and_nothing_else(self, token: str) -> None:
        with pytest.raises(Unsealable, match="damaged"):
            SEALER.unseal(token, tasks=["t"], parameter="p")

    def test_keys_are_shown_nowhere(self) -> None:
        assert repr(SEALER) == "<Sealer with 2 key(s)>"

    @pytest.mark.parametrize("keys", [[], [""], ["short"], [NEW, "x" * 15], [5]])
    def test_no_key_or_a_short_one_is_refused_with_the_remedy(self, keys: Any) -> None:
        with pytest.raises(BadJob, match="token_urlsafe") as caught:
            Sealer(keys)
        assert "short" not in str(caught.value).split("make")[0]

    def test_one_string_is_no_list_of_keys(self) -> None:
        with pytest.raises(BadJob, match="list of keys"):
            Sealer(NEW)

    def test_without_the_package_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.hkdf", None)
        with pytest.raises(MissingExtra, match=r"backstay\[secrets\]"):
            Sealer([NEW])


class TestFromSettings:
    @pytest.mark.parametrize("value", [f"{NEW},{OLD}", f" {NEW} , {OLD} ,", [NEW, OLD]])
    def test_keys_are_separated_by_commas_newest_first(self, value: Any) -> None:
        sealer = Sealer.from_settings(Settings({SETTING: value}))
        old = Sealer([OLD]).seal(b"x", task="t", parameter="p")
        assert sealer.unseal(old, tasks=["t"], parameter="p") == b"x"
        new = sealer.seal(b"x", task="t", parameter="p")
        assert Sealer([NEW]).unseal(new, tasks=["t"], parameter="p") == b"x"

    @pytest.mark.parametrize("given_settings", [{}, {SETTING: ""}, {SETTING: " , "}])
    def test_no_value_names_the_setting_and_how_to_make_one(
        self, given_settings: dict[str, str]
    ) -> None:
        settings = Settings(given_settings, environ={})
        with pytest.raises(SettingMissing, match=f"{SETTING}.*token_urlsafe"):
            Sealer.from_settings(settings)


class TestSealedArguments:
    def test_a_secret_is_not_in_the_text_and_comes_back(self) -> None:
        text = PAY.dump((1, NUMBER), {"note": "n"}, sealer=SEALER)
        assert "4111" not in text
        assert json.loads(text).keys() == {"order_id", "card", "note"}
        loaded = PAY.load(text, sealer=SEALER)
        assert loaded == ((), {"order_id": 1, "card": NUMBER, "note": "n"})

    def test_whoever_asks_is_told_which_parameters_are_secret(self) -> None:
        assert PAY.has_secrets
        assert PAY.secrets == {"card"}
        assert not Arguments(lambda a: a, name="x").has_secrets

    def test_any_type_may_be_secret_by_itself_or_by_a_part_of_it(self) -> None:
        class Card(BaseModel):
            number: Annotated[str, Secret]

        class Field_(BaseModel):
            number: str = Field(max_length=19)
            code: Annotated[bytes, Secret()]

        @dataclass
        class Account:
            iban: Annotated[str, Secret]

        class Login(TypedDict):
            password: Annotated[str, Secret]

        def work(
            card: Annotated[Field_, Secret],
            cards: list[Card],
            account: Account,
            login: Login | None,
            maybe: Annotated[str, Secret] | None,
            token: SecretStr,
            other: SecretStr | None,
            *rest: Annotated[int, Secret],
        ) -> None: ...

        arguments = Arguments(work, name="work")
        names = {"card", "cards", "account", "login", "maybe", "token", "other", "rest"}
        assert arguments.secrets == names
        values = (
            Field_(number="1", code=b"abc"),
            [Card(number="2")],
            Account("3"),
            Login(password="4"),
            None,
            SecretStr("5"),
            SecretStr("6"),
            7,
        )
        text = arguments.dump(values, {}, sealer=SEALER)
        assert {*mask(text).values()} == {MASK}
        assert arguments.load(text, sealer=SEALER) == (values, {})

    def test_a_default_is_not_written(self) -> None:
        def work(key: Annotated[str, Secret] = "k") -> None: ...

        arguments = Arguments(work, name="work")
        assert arguments.dump((), {}, sealer=SEALER) == "{}"
        assert arguments.load("{}", sealer=SEALER) == ((), {})

    def test_a_missing_secret_is_the_type_error_of_a_wrong_call(self) -> None:
        with pytest.raises(TypeError, match="missing a required argument: 'card'"):
            PAY.dump((1,), {}, sealer=SEALER)

    def test_without_a_key_nothing_is_written(self) -> None:
        with pytest.raises(BadJob, match=f"card must be sealed.*{SETTING}"):
            PAY.dump((1, NUMBER), {})

    def test_a_value_that_does_not_fit_is_shown_nowhere(self) -> None:
        def work(pin: Annotated[int, Secret], codes: Annotated[list[int], Secret]) -> None: ...

        arguments = Arguments(work, name="work")
        for args in (("hush", []), (1, [1, "hush"]), (1, object())):
            with pytest.raises(BadJob, match=r"\*\*\*") as caught:
                arguments.dump(args, {}, sealer=SEALER)
            assert "hush" not in "".join(traceback.format_exception(caught.value))

    def test_the_largest_argument_may_be_a_sealed_one(self) -> None:
        with pytest.raises(BadJob, match="largest is 'card'"):
            PAY.dump((1, "x" * 60_000), {}, sealer=SEALER)

    def test_a_wrong_key_is_unreadable_and_says_what_to_do(self) -> None:
        text = PAY.dump((1, NUMBER), {}, sealer=Sealer([OLD]))
        with pytest.raises(UnreadableArguments, match=f"{SETTING}.*requeue"):
            PAY.load(text, sealer=Sealer([NEW]))
        with pytest.raises(UnreadableArguments, match=f"no key; set {SETTING}"):
            PAY.load(text)

    def test_a_value_moved_to_another_task_is_unreadable(self) -> None:
        text = PAY.dump((1, NUMBER), {}, sealer=SEALER)
        other = Arguments(pay, name="shop.mail")
        with pytest.raises(UnreadableArguments, match="another parameter or task"):
            other.load(text, sealer=SEALER)

    def test_a_renamed_task_opens_what_its_former_name_sealed(self) -> None:
        text = PAY.dump((1, NUMBER), {}, sealer=SEALER)
        renamed = Arguments(pay, name="shop.charge", aliases=["shop.pay"])
        assert renamed.load(text, sealer=SEALER)[1]["card"] == NUMBER

    def test_a_value_that_no_longer_fits_is_unreadable_and_shown_nowhere(self) -> None:
        def work(order_id: int, card: Annotated[int, Secret], note: str = "") -> None: ...

        text = PAY.dump((1, "hush"), {}, sealer=SEALER)
        with pytest.raises(UnreadableArguments, match=r"'card' is \*\*\*") as caught:
            Arguments(work, name="shop.pay").load(text, sealer=SEALER)
        assert "hush" not in "".join(traceback.format_exception(caught.value))

    def test_values_written_before_the_parameter_was_marked_are_read(self) -> None:
        text = '{"order_id":1,"card":"plain"}'
        assert PAY.load(text, sealer=SEALER)[1]["card"] == "plain"

    def test_values_sealed_while_the_parameter_was_marked_are_read(self) -> None:
        def work(order_id: int, card: str, note: str = "") -> None: ...

        text = PAY.dump((1, NUMBER), {}, sealer=SEALER)
        plain = Arguments(work, name="shop.pay")
        assert plain.load(text, sealer=SEALER)[1]["card"] == NUMBER

    def test_a_row_without_the_secret_is_unreadable(self) -> None:
        for text in ('{"order_id":1}', "[]", "{", '{"order_id":1,"card":{"$sealed":5}}'):
            with pytest.raises(UnreadableArguments):
                PAY.load(text, sealer=SEALER)

    def test_a_result_cannot_be_secret(self) -> None:
        def work() -> Annotated[str, Secret]: ...  # type: ignore[empty-body]

        with pytest.raises(BadJob, match="kept in the open"):
            Result(work, "work").prepare()


class TestMask:
    def test_sealed_values_are_masked_and_the_rest_is_shown(self) -> None:
        text = PAY.dump((1, NUMBER), {"note": "n"}, sealer=SEALER)
        assert mask(text) == {"order_id": 1, "card": MASK, "note": "n"}

    def test_values_written_before_the_parameter_was_marked_are_masked(self) -> None:
        assert mask('{"card":"plain","a":1}', PAY.secrets) == {"card": MASK, "a": 1}

    def test_sealed_values_are_masked_at_any_depth(self) -> None:
        assert mask('{"a":[{"b":{"$sealed":"x"}}]}') == {"a": [{"b": MASK}]}

    @pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000])
    def test_what_cannot_be_read_shows_nothing(self, text: str) -> None:
        assert mask(text) == {}
