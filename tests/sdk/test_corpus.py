"""RFC 8725 to the letter: hostile tokens against a verifier, and against nobody else."""

import math
from collections.abc import Iterator

import pytest

from authsvc.core import jwt
from authsvc.core.errors import TokenRefused
from authsvc.sdk import Verifier
from tests.sdk import issuer as issuers
from tests.sdk.corpus import CORPUS, Forge
from tests.sdk.issuer import AUDIENCE, Issuer

pytestmark = pytest.mark.promise("B9")


@pytest.fixture(scope="module")
def lair() -> Iterator[Issuer]:
    """Where hostile tokens want their keys to be fetched."""
    with issuers.issuer() as made:
        yield made


@pytest.fixture(scope="module")
def forge(lair: Issuer) -> Iterator[Forge]:
    with issuers.issuer() as made:
        forge = Forge(made, f"{lair.url}/.well-known/jwks.json")
        lair.jwks = jwt.jwks({forge.thief.kid: forge.thief.public})
        yield forge


@pytest.fixture(scope="module")
def verifier(forge: Forge) -> Iterator[Verifier]:
    with Verifier(forge.issuer.url, AUDIENCE, on_stale=math.inf) as verifier:
        yield verifier


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.asvs("V9.1.2")
@pytest.mark.asvs("V9.1.3")
def test_a_hostile_token_is_refused(verifier: Verifier, forge: Forge, lair: Issuer, name: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        verifier.verify(CORPUS[name](forge))
    assert refused.value.reason == name.partition(":")[0]
    assert not lair.hits


def test_what_the_forge_makes_without_a_change_is_accepted(verifier: Verifier, forge: Forge) -> None:
    """Else the corpus would be refused for reasons that are not its own."""
    honest = [
        forge.make(),
        forge.with_header(typ="application/at+jwt"),
        forge.with_header(unknown="x"),
        forge.with_claims(aud=[AUDIENCE]),
        forge.with_claims(aud=["https://bills.example", AUDIENCE]),
        forge.with_claims(pad="x" * 5_000),
        forge.with_raw("exp", f"{forge.issuer.claims()['exp']}.5"),
        forge.with_raw("nbf", "0"),
    ]
    for token in honest:
        assert verifier.verify(token).subject == "anna"


@pytest.mark.asvs("V9.1.1")
def test_no_bit_of_a_token_can_be_changed(verifier: Verifier, forge: Forge) -> None:
    token = forge.make()
    verifier.verify(token)
    for place, letter in enumerate(token):
        for bit in range(8):
            changed = token[:place] + chr(ord(letter) ^ 1 << bit) + token[place + 1 :]
            with pytest.raises(TokenRefused):
                verifier.verify(changed)


def test_no_part_of_a_token_can_be_left_out(verifier: Verifier, forge: Forge) -> None:
    token = forge.make()
    for end in range(len(token)):
        with pytest.raises(TokenRefused):
            verifier.verify(token[:end])
