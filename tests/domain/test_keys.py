"""The keys that sign: published before they sign, and for as long afterwards as anything that they signed is valid."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from authsvc.core import jwt
from authsvc.core.errors import NotFound, StorageDown, TokenRefused
from authsvc.core.settings import DAY, Settings
from authsvc.domain.keys import LONGEST_LIFE
from authsvc.models import SigningKey
from authsvc.services import Services, build
from tests.conftest import make_settings

Make = Callable[..., Services]
AHEAD = 2 * 300  # seconds, with the settings as they come


def kids(services: Services) -> set[str]:
    return {key["kid"] for key in services.keys.jwks()["keys"]}


def test_the_first_key_is_there_when_it_is_needed(services: Services) -> None:
    key = services.keys.signing()

    assert key.alg == "ES256"
    assert kids(services) == {key.kid}


def test_of_many_processes_that_need_the_first_key_at_once_one_makes_it(make_services: Make) -> None:
    processes = [make_services() for _ in range(6)]
    together, found = threading.Barrier(6), []

    def ask(process: Services) -> None:
        together.wait()
        found.append(process.keys.signing().kid)

    threads = [threading.Thread(target=ask, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(found) == 6
    assert len(processes[0].keys.listed()) == 1


@pytest.mark.parametrize("alg", jwt.ALGORITHMS)
def test_a_key_of_each_algorithm_is_kept_and_signs(make_services: Make, alg: str) -> None:
    signer, verifier = make_services(signing_alg=alg), make_services()

    token = jwt.sign(signer.keys.signing(), "at+jwt", {"iss": "x"})

    assert jwt.kid_of(token) in kids(verifier)
    assert jwt.check_signature(token, jwt.load_jwks(verifier.keys.jwks()))
    assert verifier.keys.signing().alg == alg


def test_the_next_key_is_published_before_it_signs(services: Services, make_services: Make) -> None:
    first = services.keys.signing().kid

    second = services.keys.rotate().kid

    assert services.keys.signing().kid == first
    assert kids(services) == {first, second}
    assert make_services(later=AHEAD - 5).keys.signing().kid == first
    assert make_services(later=AHEAD + 5).keys.signing().kid == second


def test_a_key_is_published_until_nothing_that_it_signed_is_valid(services: Services, make_services: Make) -> None:
    first = services.keys.signing().kid
    second = services.keys.rotate().kid

    assert kids(make_services(later=AHEAD + LONGEST_LIFE)) == {first, second}
    assert kids(make_services(later=AHEAD + LONGEST_LIFE + 30)) == {second}
    assert set(make_services(later=AHEAD + DAY).keys.public(ever=True)) == {first, second}


def test_keys_rotate_by_themselves_when_their_time_has_come(services: Services, make_services: Make) -> None:
    first = services.keys.signing().kid

    before = make_services(later=30 * DAY - AHEAD - 60)
    assert before.keys.signing().kid == first
    assert len(before.keys.listed()) == 1
    due = make_services(later=30 * DAY - AHEAD + 60)
    assert due.keys.signing().kid == first
    assert len(kids(due)) == 2
    assert make_services(later=30 * DAY + 60).keys.signing().kid != first


def test_an_installation_that_has_slept_for_months_publishes_before_it_signs(
    services: Services, make_services: Make
) -> None:
    first = services.keys.signing().kid

    woken = make_services(later=200 * DAY)

    assert woken.keys.signing().kid == first
    assert len(kids(woken)) == 2
    assert make_services(later=200 * DAY + AHEAD + 5).keys.signing().kid != first


def test_a_revoked_key_is_refused_and_another_signs_at_once(services: Services, make_services: Make) -> None:
    first = services.keys.signing()
    token = jwt.sign(first, "at+jwt", {"iss": "x"})

    services.keys.revoke(first.kid)

    other = make_services()
    assert other.keys.signing().kid == services.keys.signing().kid != first.kid
    assert first.kid not in kids(other)
    assert first.kid not in other.keys.public(ever=True)
    with pytest.raises(TokenRefused) as refused:
        jwt.check_signature(token, other.keys.public())
    assert refused.value.reason == "unknown_key"


def test_an_older_key_does_not_sign_again_when_the_newest_is_revoked(services: Services, make_services: Make) -> None:
    first = services.keys.signing().kid
    second = services.keys.rotate().kid
    later = make_services(later=AHEAD + 5)
    assert later.keys.signing().kid == second

    later.keys.revoke(second)

    assert later.keys.signing().kid not in (first, second)


def test_a_key_is_revoked_once(services: Services) -> None:
    kid = services.keys.signing().kid
    services.keys.revoke(kid)

    for each in (kid, "unknown"):
        with pytest.raises(NotFound):
            services.keys.revoke(each)


@pytest.mark.promise("B7")
def test_the_private_key_lies_sealed(services: Services) -> None:
    key = services.keys.signing()

    with services.db.reading() as sql:
        row = sql.get_one(SigningKey, key.kid)

    secret = key.jwk()["d"]
    assert secret not in str(row.public)
    assert secret.encode() not in row.private


def test_a_key_sealed_by_a_secret_that_is_gone_signs_no_more_and_is_still_believed(
    services: Services, make_services: Make
) -> None:
    first = services.keys.signing().kid

    other = make_services(secret_keys=make_settings().secret_keys)

    assert other.keys.signing().kid != first
    assert first in kids(other)


def test_keys_that_were_read_are_good_while_sql_is_away(sqlite_url: str, settings: Settings) -> None:
    times = [time.time()]
    services = build(settings.model_copy(update={"database_url": sqlite_url}), lambda: times[-1])
    kid = services.keys.signing().kid
    services.close()
    Path(sqlite_url.removeprefix("sqlite:///")).rename(settings.instance / "elsewhere")
    times.append(times[0] + 60)

    assert services.keys.signing().kid == kid
    with pytest.raises(StorageDown):
        services.keys.listed()


def test_without_sql_and_without_a_key_nothing_is_signed(make_services: Make) -> None:
    services = make_services(database_url="postgresql://127.0.0.1:1/nowhere")

    with pytest.raises(StorageDown):
        services.keys.signing()


def test_keys_are_forgotten_after_a_year(services: Services, make_services: Make) -> None:
    first = services.keys.signing().kid
    services.keys.rotate()

    make_services(later=399 * DAY).upkeep.clean_up(float("inf"))
    assert first in {key.kid for key in services.keys.listed()}
    make_services(later=402 * DAY).upkeep.clean_up(float("inf"))
    assert first not in {key.kid for key in services.keys.listed()}
