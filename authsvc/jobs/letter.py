"""From a row to the mail that a person reads (RFC 5322, 2045). The same job gives the same bytes whenever it is tried,
so whoever gets it twice has the same mail twice, under the same Message-ID.

A name that its owner has chosen is said only to an address that is known to be theirs: else anybody could have us
write their words to strangers.
"""

import re
import unicodedata
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from babel.dates import format_date, format_time, get_datetime_format
from css_inline import CSSInliner
from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from authsvc.core.crypto import Keyring
from authsvc.core.locales import ENGLISH, LOCALES, tag, translations
from authsvc.core.settings import Settings
from authsvc.domain import links, mails
from authsvc.domain.jobs import Job
from authsvc.domain.mails import Mail

FOLDER = Path(__file__).parent.parent / "templates" / "mail"
PATHS = {
    links.VERIFY: "/verify-email",
    links.CHANGE_EMAIL: "/verify-email",
    links.RESET: "/password/reset",
    links.NOT_ME: "/not-me",
    links.KEEP: "/account/keep",
}
TO_STRANGERS = frozenset({mails.VERIFY_EMAIL, mails.CHANGE_EMAIL})
LONGEST_FACT = 320
INLINER = CSSInliner(load_remote_stylesheets=False, keep_at_rules=True)


def compose(job: Job, settings: Settings, keyring: Keyring) -> EmailMessage:
    """The mail of a job."""
    mail = mails.of(job.data)
    locale = mail.locale if mail.locale in LOCALES else ENGLISH
    said = facts(mail, job.created, locale) | {
        "site": urlsplit(settings.public_url).netloc,
        "url": settings.public_url,
        "lang": tag(locale),
        **proof(mail, settings, keyring),
    }
    subject, text, html = words(mail.template, locale, said)
    sender, to = address(settings.sender), address(mail.to)
    message = EmailMessage(SMTP if to.addr_spec.isascii() else SMTPUTF8)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"] = format_datetime(datetime.fromtimestamp(job.created, UTC))
    message["Message-ID"] = f"<{job.id}@{sender.domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    message.set_content(text, cte="quoted-printable")
    message.make_alternative(boundary=f"=_{job.id}")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = tag(locale)
    return message


def facts(mail: Mail, created: int, locale: str) -> dict[str, str]:
    """What a template may name. Times are said as such, not as "in ten minutes": nobody knows when a mail is read."""
    told: dict[str, Any] = {"name": "", "device": "", "ip": "", "email": "", **mail.facts}
    times: dict[str, int] = {name: told[name] for name in ("at", "due") if name in told}
    if mail.link:
        ends = created + links.LIFE[mail.link[1]]
        times |= {"code_until": created + links.CODE_LIFE, "until": min(ends, told.get("due", ends))}
    if mail.template in TO_STRANGERS:
        told["name"] = ""
    texts = {name: one_line(value) for name, value in told.items() if isinstance(value, str)}
    return texts | {name: moment(value, locale) for name, value in times.items()}


def proof(mail: Mail, settings: Settings, keyring: Keyring) -> dict[str, str]:
    """The link and the code. They are made here and stored nowhere."""
    if mail.link is None:
        return {}
    link_id, purpose = mail.link
    link = f"{settings.public_url}{PATHS[purpose]}?token={links.token(keyring, link_id, purpose)}"
    code = {"code": links.code(keyring, link_id, purpose)} if purpose in links.WITH_CODE else {}
    return {"link": link, **code}


def words(template: str, locale: str, said: dict[str, str]) -> tuple[str, str, str]:
    """Subject, text and HTML. The subject is the first line of the text's template."""
    written = templates(locale).get_template(f"{template}.txt").render(said).strip()
    subject, _, text = re.sub(r"\n{3,}", "\n\n", written).partition("\n\n")
    html = templates(locale).get_template(f"{template}.html").render(said, subject=subject)
    return one_line(subject), text + "\n", INLINER.inline(html)


@cache
def templates(locale: str) -> Environment:
    found = Environment(
        loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=select_autoescape(["html"]),
        extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    found.install_gettext_translations(translations(locale), newstyle=True)  # type: ignore[attr-defined]
    return found


def address(text: str) -> Address:
    """A mailbox, its domain as the network spells it (RFC 5891)."""
    name, spec = parseaddr(text)
    try:
        known = validate_email(spec, check_deliverability=False)
        spec = known.ascii_email or f"{known.local_part}@{known.ascii_domain}"
    except EmailNotValidError:  # the sender of an installation without a domain, such as no-reply@127.0.0.1
        pass
    user, _, domain = spec.rpartition("@")
    return Address(one_line(name), user, domain)


def one_line(text: str) -> str:
    """The text without what breaks a line, turns its direction or cannot be seen."""
    seen = "".join(" " if char.isspace() else char for char in text[:LONGEST_FACT])
    return " ".join("".join(char for char in seen if unicodedata.category(char)[0] != "C").split())


def moment(at: Any, locale: str) -> str:
    """A unix second as people of a locale write it, in UTC."""
    then = datetime.fromtimestamp(at, UTC)
    date, time = format_date(then, "long", locale), format_time(then, "HH:mm", locale=locale)
    return str(get_datetime_format("medium", locale=locale)).format(f"{time} UTC", date)
