"""Accounts: which emails, names and roles there can be, and what changing them does."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from authsvc.core import events
from authsvc.core.errors import EmailTaken, InvalidFields, NotFound
from authsvc.domain.accounts import email_key, valid_email, valid_name, valid_roles
from authsvc.models import Event
from authsvc.services import Services

ANNA = "anna@example.org"


def facts(services: Services) -> list[tuple[str, object]]:
    with services.db.reading() as sql:
        return [(fact.name, fact.data) for fact in sql.scalars(select(Event).order_by(Event.id))]


def test_an_account_is_found_as_it_was_made(services: Services) -> None:
    made = services.accounts.create("Anna@Example.ORG", "hash", name=" Anna ", roles=("b", "a", "b"))

    assert services.accounts.get(ANNA) == made
    assert services.accounts.all() == [made]
    assert (made.email, made.name, made.roles, made.disabled) == ("Anna@example.org", "Anna", ("a", "b"), None)
    assert facts(services) == [(events.USER_CREATED, {})]


def test_there_is_nobody_before_the_first_account(services: Services) -> None:
    assert services.accounts.nobody()
    services.accounts.create(ANNA, "hash")
    assert not services.accounts.nobody()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ANNA, "ANNA@EXAMPLE.ORG"),
        ("stra\u00dfe@example.org", "STRASSE@example.org"),
        ("\uff41nna@example.org", ANNA),
        ("ann\u00e9@example.org", "anne\u0301@example.org"),
        ("anna@b\u00fccher.example", "anna@xn--bcher-kva.example"),
        ("\u03c3\u03c3@example.org", "\u03a3\u03c2@example.org"),
    ],
)
def test_an_address_in_another_spelling_is_taken(services: Services, one: str, other: str) -> None:
    services.accounts.create(one, "hash")

    with pytest.raises(EmailTaken):
        services.accounts.create(other, "hash")
    assert len(services.accounts.all()) == 1
    assert services.accounts.known(other).account == services.accounts.known(one).account


def test_addresses_that_only_look_alike_are_two(services: Services) -> None:
    for email in (ANNA, "an\u0430@example.org", "anna+tag@example.org", "an.na@example.org"):
        services.accounts.create(email, "hash")

    assert len(services.accounts.all()) == 4


@pytest.mark.promise("B1")
@pytest.mark.parametrize(
    "email",
    ["", "anna", "@example.org", "anna@", "anna@example", "an na@example.org", "anna@example.org\0", "a\0@example.org",
     "\ud800@example.org", "anna@" + "a" * 250 + ".org", "anna@[127.0.0.1]", "<a@b.org>",
     "anna@example.org\r\nBcc: eve@example.org", '"a b"@example.org', "anna@localhost", "a@b@example.org"],
)  # fmt: skip
def test_what_is_no_address_makes_no_account_and_finds_none(services: Services, email: str) -> None:
    services.accounts.create(ANNA, "hash")

    with pytest.raises(InvalidFields) as error:
        services.accounts.create(email, "hash")
    assert [(each.field, each.code) for each in error.value.errors] == [("email", "invalid")]
    assert services.accounts.known(email).account is None
    with pytest.raises(NotFound):
        services.accounts.get(email)


@pytest.mark.promise("B1")
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_any_text_has_a_key_that_sql_can_take(text: str) -> None:
    key = email_key(text)

    assert "\0" not in key
    assert key.encode()
    assert email_key(text) == key


@given(st.emails())
def test_every_spelling_of_a_valid_address_has_one_key(email: str) -> None:
    try:
        normal = valid_email(email)
    except InvalidFields:
        assert email_key(email).startswith(" ")
        return
    assert email_key(email) == email_key(normal) == email_key(normal.upper())


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "a\0b", "\u202eevil", "\ud800", "\u200b", "\x7f"])
def test_a_name_that_would_not_print_is_refused(name: str) -> None:
    with pytest.raises(InvalidFields):
        valid_name(name)


@pytest.mark.parametrize("name", ["", "Anna", "Łukasz O'Brien-Śmith", "安娜", "x" * 200, "😀"])
def test_people_are_called_what_they_like(services: Services, name: str) -> None:
    assert services.accounts.create(ANNA, "hash", name=name).name == name
    assert services.accounts.get(ANNA).name == name


@pytest.mark.parametrize("role", ["", "a b", "a,b", "ä", "x" * 65, "a\n", "a\0", '"', "\u0661"])
def test_a_role_that_a_header_could_not_carry_is_refused(role: str) -> None:
    with pytest.raises(InvalidFields):
        valid_roles((role,))


def test_roles_are_a_sorted_set() -> None:
    assert valid_roles(("b", "a:read", "b", "A_1.x-y")) == ["A_1.x-y", "a:read", "b"]


def test_set_roles_writes_a_fact_that_is_delivered(services: Services) -> None:
    services.accounts.create(ANNA, "hash", roles=("a",))

    assert services.accounts.set_roles(ANNA, ("c", "b")).roles == ("b", "c")

    assert facts(services)[-1] == (events.ROLES_CHANGED, {"roles": ["b", "c"]})
    assert services.outbox.relay() == 0


@pytest.mark.parametrize(
    "call",
    [lambda a: a.get("x@y.org"), lambda a: a.disable("x@y.org"), lambda a: a.enable("x@y.org"),
     lambda a: a.set_roles("x@y.org", ())],
)  # fmt: skip
def test_there_is_nothing_to_do_for_an_account_that_is_not_there(
    services: Services, call: Callable[[object], object]
) -> None:
    with pytest.raises(NotFound):
        call(services.accounts)
    assert facts(services) == []


def test_a_disabled_account_can_be_enabled_again(services: Services) -> None:
    services.accounts.create(ANNA, "hash")
    services.accounts.disable(ANNA)
    first = services.accounts.get(ANNA).disabled
    services.accounts.disable(ANNA)
    assert first
    assert services.accounts.get(ANNA).disabled == first

    services.accounts.enable(ANNA)

    assert services.accounts.get(ANNA).disabled is None
    assert [fact for fact in facts(services) if fact[0] == events.ACCOUNT_CHANGED] == [
        (events.ACCOUNT_CHANGED, {"disabled": disabled}) for disabled in (True, True, False)
    ]


def test_failures_are_counted_by_account_by_address_and_by_both(services: Services) -> None:
    for account, ip in [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1")]:
        services.accounts.failed(account, ip)

    count = services.accounts.failures
    assert (count(0), count(0, account="a"), count(0, ip="1"), count(0, account="a", ip="1")) == (4, 3, 3, 2)
    assert count(int(services.store.clock()) + 5, account="a") == 0
