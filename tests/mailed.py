"""What would be mailed: the rows that wait, read as a person reads a mail."""

from typing import Any

from sqlalchemy import select

from authsvc.domain import jobs, links, mails
from authsvc.domain.links import Proof
from authsvc.domain.mails import Mail
from authsvc.models import Job
from authsvc.services import Services


def mails_to(services: Services, address: str) -> list[Mail]:
    """Every mail that was ever ordered for an address, oldest first."""
    ordered = select(Job).where(Job.kind == jobs.MAIL).order_by(Job.created_at)
    with services.db.reading() as sql:
        written = [mails.of(row.data) for row in sql.scalars(ordered)]
    return [mail for mail in written if mail.to == address]


def token(services: Services, mail: Mail) -> str:
    """What stands in its link."""
    assert mail.link
    return links.token(services.keyring, *mail.link)


def code(services: Services, mail: Mail) -> Proof:
    """What a person types who has the page open on which the mail was asked for."""
    assert mail.link
    return Proof(flow=mail.link[0], code=links.code(services.keyring, *mail.link))


def token_to(services: Services, address: str, template: str) -> str:
    """The token of the last mail of a kind."""
    return token(services, [mail for mail in mails_to(services, address) if mail.template == template][-1])


def proof_body(proof: Proof, **more: Any) -> dict[str, Any]:
    return {"flow": proof.flow, "code": proof.code, **more}
