"""Registrations, links and passwords when many act at once, and when their time is over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from authsvc.core import events
from authsvc.core.errors import AuthsvcError, EmailTaken, InvalidCredentials, TokenInvalid
from authsvc.core.settings import DAY, HOUR, MINUTE
from authsvc.domain import links, mails
from authsvc.domain.accounts import Account
from authsvc.domain.links import Proof
from authsvc.domain.sessions import Origin
from authsvc.login.flow import Caller
from authsvc.models import Event, Job, Link, Registration, Session, User
from authsvc.services import Services
from tests.conftest import PASSWORD, make_settings
from tests.mailed import code, mails_to, token, token_to

EMMA = "emma@example.org"
ORIGIN = Origin("192.0.2.1", "Firefox on Linux")
NEW_PASSWORD = "another horse, another staple"


@pytest.fixture
def anna(services: Services) -> Account:
    return services.accounts.create("anna@example.org", services.hasher.hash(PASSWORD), name="Anna")


def register(services: Services, email: str = EMMA, password: str = PASSWORD) -> str:
    return services.registration.register(email, password, name="", locale="en", origin=ORIGIN)


def log_in(services: Services, email: str, password: str = PASSWORD) -> Any:
    return services.login.with_password(email, password, remember=False, caller=Caller(ORIGIN))


def at_once(acts: list[Callable[[], Any]]) -> list[str]:
    """What came of acts that run at the same time: `done`, or the code of the error."""

    def outcome(act: Callable[[], Any]) -> str:
        try:
            act()
        except AuthsvcError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(pool.map(outcome, acts))


def processes(make_services: Callable[..., Services], number: int) -> list[Services]:
    return [make_services() for _ in range(number)]


def rows(services: Services, model: type) -> int:
    with services.db.reading() as sql:
        return sql.scalar(select(func.count()).select_from(model)) or 0


def test_one_link_that_is_used_many_times_at_once_makes_one_account(
    services: Services, make_services: Callable[..., Services]
) -> None:
    register(services)
    proof = Proof(token_to(services, EMMA, mails.VERIFY_EMAIL))
    outcomes = at_once([partial(each.registration.verify, proof) for each in processes(make_services, 4)])
    assert outcomes == ["done", *["token_invalid"] * 3]
    assert rows(services, User) == 1


def test_of_two_registrations_that_are_confirmed_at_once_one_becomes_the_account(
    services: Services, make_services: Callable[..., Services]
) -> None:
    register(services, password="the password of the one")
    register(services, EMMA.upper(), password="the password of the other")
    proofs = [
        Proof(token(services, mail)) for mail in [*mails_to(services, EMMA), *mails_to(services, "EMMA@example.org")]
    ]
    assert len(proofs) == 2
    outcomes = at_once([partial(make_services().registration.verify, proof) for proof in proofs])
    assert outcomes[0] == "done"
    assert outcomes[1] in (EmailTaken.code, TokenInvalid.code)
    assert (rows(services, User), rows(services, Registration)) == (1, 0)


@pytest.mark.promise("B4")
def test_a_code_that_is_guessed_by_many_at_once_takes_no_more_tries(
    services: Services, make_services: Callable[..., Services]
) -> None:
    register(services)
    proof = code(services, mails_to(services, EMMA)[0])
    wrong = Proof(flow=proof.flow, code=f"{(int(proof.code) + 1) % 10**6:06}")
    at_once([partial(each.registration.verify, wrong) for each in processes(make_services, 8)])
    with services.db.reading() as sql:
        assert sql.scalar(select(Link.tries)) == links.CODE_TRIES
    with pytest.raises(TokenInvalid):
        services.registration.verify(proof)


def test_a_code_lives_ten_minutes_and_its_link_a_day(
    services: Services, make_services: Callable[..., Services]
) -> None:
    register(services)
    [mail] = mails_to(services, EMMA)
    with pytest.raises(TokenInvalid):
        make_services(later=11 * MINUTE).registration.verify(code(services, mail))
    make_services(later=DAY - MINUTE).registration.verify(Proof(token(services, mail)))


def test_a_link_that_is_too_old_opens_nothing(services: Services, make_services: Callable[..., Services]) -> None:
    register(services)
    [mail] = mails_to(services, EMMA)
    with pytest.raises(TokenInvalid):
        make_services(later=DAY).registration.verify(Proof(token(services, mail)))


def test_looking_at_a_link_uses_nothing_up(services: Services) -> None:
    register(services)
    link = token_to(services, EMMA, mails.VERIFY_EMAIL)
    for _ in range(3):
        services.links.peek(link, services.store.clock(), links.VERIFY)
    services.registration.verify(Proof(link))


@pytest.mark.parametrize(
    "spoil", [str.swapcase, lambda token: token[:-1], lambda token: token + "A", lambda _: "", lambda _: "é" * 46]
)
def test_a_token_that_was_changed_opens_nothing(services: Services, spoil: Callable[[str], str]) -> None:
    register(services)
    link = token_to(services, EMMA, mails.VERIFY_EMAIL)
    with pytest.raises(TokenInvalid):
        services.registration.verify(Proof(spoil(link)))
    services.registration.verify(Proof(link))


@pytest.mark.promise("B7")
def test_the_database_alone_opens_no_link(services: Services, make_services: Callable[..., Services]) -> None:
    """Tokens and codes are made with the installation's secret: who has only the rows cannot."""
    register(services)
    [mail] = mails_to(services, EMMA)
    thief = make_services(secret_keys=make_settings().secret_keys)
    with pytest.raises(TokenInvalid):
        services.registration.verify(Proof(token(thief, mail)))
    assert code(thief, mail).code != code(services, mail).code


def test_a_secret_that_is_replaced_keeps_the_mails_that_are_on_their_way(
    services: Services, make_services: Callable[..., Services]
) -> None:
    register(services)
    [mail] = mails_to(services, EMMA)
    new = make_settings().secret_keys
    after = make_services(secret_keys=(*new, *services.settings.secret_keys))
    after.registration.verify(Proof(token(services, mail)))


def test_only_the_newest_mail_resets_a_password(services: Services, anna: Account) -> None:
    services.recovery.forgot(anna.email, "192.0.2.1")
    services.recovery.forgot(anna.email, "192.0.2.1")
    older, newer = (Proof(token(services, mail)) for mail in mails_to(services, anna.email))
    with pytest.raises(TokenInvalid):
        services.recovery.reset(older, NEW_PASSWORD)
    services.recovery.reset(newer, NEW_PASSWORD)
    log_in(services, anna.email, NEW_PASSWORD)


@pytest.mark.promise("R4")
def test_a_login_with_the_old_password_that_is_under_way_during_a_reset_gets_no_session(
    services: Services, anna: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.recovery.forgot(anna.email, "192.0.2.1")
    proof = Proof(token_to(services, anna.email, mails.RESET_PASSWORD))
    verify = services.hasher.verify

    def slowly(hashed: str | None, password: str) -> bool:
        right = verify(hashed, password)
        services.recovery.reset(proof, NEW_PASSWORD)
        return right

    monkeypatch.setattr(services.hasher, "verify", slowly)
    with pytest.raises(InvalidCredentials):
        log_in(services, anna.email)
    assert services.sessions.of_user(anna.id) == []


def test_of_two_changes_of_a_password_at_once_one_is_made(
    services: Services, make_services: Callable[..., Services], anna: Account
) -> None:
    own, _ = log_in(services, anna.email)
    outcomes = at_once(
        [partial(make_services().recovery.change, own, PASSWORD, NEW_PASSWORD + n, Caller(ORIGIN)) for n in "12"]
    )
    assert outcomes == ["done", "invalid_credentials"]


def test_a_changed_password_voids_the_reset_that_was_mailed(services: Services, anna: Account) -> None:
    own, _ = log_in(services, anna.email)
    services.recovery.forgot(anna.email, "192.0.2.1")
    services.recovery.change(own, PASSWORD, NEW_PASSWORD, Caller(ORIGIN))
    with pytest.raises(TokenInvalid):
        services.recovery.reset(Proof(token_to(services, anna.email, mails.RESET_PASSWORD)), PASSWORD)


def by_reset(services: Services, anna: Account) -> None:
    services.recovery.forgot(anna.email, "192.0.2.1")
    services.recovery.reset(Proof(token_to(services, anna.email, mails.RESET_PASSWORD)), NEW_PASSWORD)


def by_change(services: Services, anna: Account) -> None:
    own, _ = log_in(services, anna.email)
    services.recovery.change(own, PASSWORD, NEW_PASSWORD, Caller(ORIGIN))


def by_disowning(services: Services, anna: Account) -> None:
    services.recovery.disown(token_to(services, anna.email, mails.NEW_DEVICE))


@pytest.mark.parametrize("taken_back", [by_reset, by_change, by_disowning])
def test_a_thief_who_asked_for_another_email_gets_nothing_once_the_owner_is_back(
    services: Services, anna: Account, taken_back: Callable[[Services, Account], None]
) -> None:
    log_in(services, anna.email)
    thief, _ = log_in(services, anna.email)
    services.registration.change_email(thief, "thief@example.org")
    link = Proof(token_to(services, "thief@example.org", mails.CHANGE_EMAIL))
    taken_back(services, anna)
    with pytest.raises(TokenInvalid):
        services.registration.verify(link)
    assert services.accounts.get(anna.email).id == anna.id


@pytest.mark.parametrize("template", [mails.RESET_PASSWORD, mails.NEW_DEVICE])
def test_whoever_still_reads_the_old_mailbox_gets_nothing_by_its_links(
    services: Services, anna: Account, template: str
) -> None:
    log_in(services, anna.email)
    own, _ = log_in(services, anna.email)
    services.recovery.forgot(anna.email, "192.0.2.1")
    old = token_to(services, anna.email, template)
    services.registration.change_email(own, "anna@new.example")
    services.registration.verify(Proof(token_to(services, "anna@new.example", mails.CHANGE_EMAIL)))
    with pytest.raises(TokenInvalid):
        services.recovery.disown(old) if template == mails.NEW_DEVICE else services.recovery.reset(
            Proof(old), NEW_PASSWORD
        )
    log_in(services, "anna@new.example")


def test_a_disabled_account_gets_no_mail_and_no_reset(services: Services, anna: Account) -> None:
    services.recovery.forgot(anna.email, "192.0.2.1")
    services.accounts.disable(anna.email)
    with pytest.raises(TokenInvalid):
        services.recovery.reset(Proof(token_to(services, anna.email, mails.RESET_PASSWORD)), NEW_PASSWORD)
    services.recovery.forgot(anna.email, "192.0.2.1")
    register(services, anna.email)
    assert len(mails_to(services, anna.email)) == 1


def test_an_erased_account_leaves_nothing_but_its_opaque_id(
    services: Services, anna: Account, make_services: Callable[..., Services]
) -> None:
    log_in(services, anna.email)
    services.recovery.forgot(anna.email, "192.0.2.1")
    services.exports.ask(anna.id)
    services.deletions.ask(anna.id)
    assert services.deletions.erase_due() == 0
    assert make_services(later=services.settings.delete_after).deletions.erase_due() == 1
    assert [rows(services, model) for model in (User, Session, Link)] == [0, 0, 0]
    [farewell] = mails_to(services, anna.email)
    assert farewell.template == mails.ACCOUNT_DELETED
    with services.db.reading() as sql:
        assert sql.scalars(select(Event.ip).where(Event.user_id == anna.id, Event.ip.is_not(None))).all() == []
        assert sql.scalars(select(Job.kind).where(Job.user_id == anna.id)).all() == []
    with pytest.raises(InvalidCredentials):
        log_in(services, anna.email)


def test_whoever_logs_in_again_can_keep_the_account(
    services: Services, anna: Account, make_services: Callable[..., Services]
) -> None:
    services.deletions.ask(anna.id)
    own, _ = log_in(services, anna.email)
    services.deletions.keep(own.user)
    assert make_services(later=services.settings.delete_after).deletions.erase_due() == 0


def test_who_takes_it_back_while_the_clean_up_begins_keeps_everything(
    services: Services, anna: Account, make_services: Callable[..., Services]
) -> None:
    services.deletions.ask(anna.id)
    late = make_services(later=services.settings.delete_after)
    services.deletions.keep(anna.id)  # after the clean-up has found it
    assert not late.deletions.erase(anna.id)
    assert services.accounts.get(anna.email).id == anna.id


def test_an_account_is_erased_once(services: Services, anna: Account, make_services: Callable[..., Services]) -> None:
    services.deletions.ask(anna.id)
    late = make_services(later=services.settings.delete_after)
    assert (late.deletions.erase(anna.id), late.deletions.erase(anna.id)) == (True, False)
    assert len(mails_to(services, anna.email)) == 1


def test_the_clean_up_takes_what_is_over_and_nothing_else(
    services: Services, anna: Account, make_services: Callable[..., Services]
) -> None:
    register(services)
    log_in(services, anna.email)

    def left_after(seconds: int) -> list[int]:
        after = make_services(later=seconds)
        after.upkeep.clean_up(after.store.clock() + 60)
        return [rows(services, model) for model in (User, Session, Registration, Link)]

    assert left_after(HOUR) == [1, 1, 1, 1]
    assert left_after(DAY) == [1, 1, 0, 1]  # the session has timed out, and is shown as ended for a while
    assert left_after(3 * DAY) == [1, 1, 0, 0]
    assert left_after(32 * DAY) == [1, 0, 0, 0]


@pytest.mark.promise("R2")
def test_a_session_that_times_out_is_told_of_like_one_that_was_ended(
    services: Services, anna: Account, make_services: Callable[..., Services]
) -> None:
    own, _ = log_in(services, anna.email)
    for _ in range(2):
        assert make_services(later=services.settings.idle).sessions.end_expired() in (1, 0)
    with services.db.reading() as sql:
        ended = sql.scalars(select(Event.sid).where(Event.name == events.SESSION_ENDED)).all()
    assert ended == [own.sid]
