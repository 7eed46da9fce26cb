"""Project Wycheproof's vectors for JSON Web Signatures and Keys, through our key loader and our check of a signature.

We allow less than they do. Where a verdict differs, one of the rules below says why; any other difference fails.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from authsvc.core import jwt
from authsvc.core.errors import KeysRefused, TokenRefused
from tests.servers import missing

FOLDER = Path(__file__).parents[3] / "shared" / "vectors" / "wycheproof"


class Vector(NamedTuple):
    id: int
    comment: str
    valid: bool
    keys: list[dict[str, Any]]
    token: str
    encrypted: bool


def vectors(name: str) -> Iterator[Vector]:
    file = FOLDER / f"{name}.json"
    if not file.exists():
        missing("Wycheproof's vectors")
    for group in json.loads(file.read_text())["testGroups"]:
        given = group.get("public", group["private"])
        for test in group["tests"]:
            token = test.get("jws", test.get("jwe"))
            yield Vector(
                test["tcId"], test["comment"], test["result"] == "valid", given.get("keys", [given]),
                token if isinstance(token, str) else json.dumps(token), "jwe" in test,
            )  # fmt: skip


def verdict(vector: Vector) -> str:
    """The word accepted, or why not."""
    try:
        jwt.check_signature(vector.token, jwt.load_jwks({"keys": vector.keys}))
    except KeysRefused:
        return "keys"
    except TokenRefused as error:
        return error.reason
    return "accepted"


def rule(vector: Vector) -> str:
    """Of ours, by which a token that Wycheproof calls valid is refused; empty if none applies."""
    if vector.encrypted:
        return "no encryption: our tokens are signed, and read by whoever holds them"
    if any(key["kty"] == "oct" for key in vector.keys):
        return "no shared secrets: who can check a token must not be able to make one"
    if not {key["alg"] for key in vector.keys} & set(jwt.ALGORITHMS):
        return "three algorithms: ES256, EdDSA, RS256"
    return ""


@pytest.mark.promise("B9")
@pytest.mark.parametrize(
    ("name", "accepted", "differences"),
    [
        ("jws", 10, {"no shared secrets": 10, "three algorithms": 26}),
        ("jwk", 1, {"no shared secrets": 4}),
        ("jwc", 2, {"no shared secrets": 2, "no encryption": 2}),
    ],
)
@pytest.mark.asvs("V9.1.1")
def test_every_verdict_is_wycheproofs_or_explained(name: str, accepted: int, differences: dict[str, int]) -> None:
    found = [(vector, verdict(vector)) for vector in vectors(name)]
    assert [vector for vector, said in found if said == "accepted" and not vector.valid] == []
    refused = [vector for vector, said in found if said != "accepted" and vector.valid]
    assert [vector for vector in refused if not rule(vector)] == []
    assert Counter(rule(vector).partition(":")[0] for vector in refused) == differences
    assert sum(said == "accepted" for _, said in found) == accepted
