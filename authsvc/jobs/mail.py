"""Mails by SMTP (RFC 5321): one connection for each, TLS and certificate checked unless the server is on this machine.

What passes by itself, and what is our own fault, is tried again. Only what a server says for good about the recipient
or the message is the end of a mail. A connection that is cut before the answer leaves open whether the mail was taken:
it is sent again, under the same Message-ID.
"""

import re
import smtplib
import ssl
import time
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from typing import Any, NamedTuple, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from authsvc.core.errors import TokenInvalid
from authsvc.core.metrics import MAILS
from authsvc.core.settings import Settings
from authsvc.domain import links, mails
from authsvc.domain.jobs import Hopeless, Job, TryLater
from authsvc.domain.mails import Mail
from authsvc.jobs.letter import compose
from authsvc.services import Services

STEP = 10  # seconds for the connection, and for each answer
GOODBYE = 1  # seconds for the last answer, which changes nothing
AUTHENTICATION = frozenset({530, 534, 535, 538})  # RFC 4954: replies about our login, whatever they answer


class Refused(Exception):
    """The server will never take this mail for this recipient."""


class Reply(NamedTuple):
    """What a server has said no with: the code, and the enhanced one (RFC 3463) where there is one. Its words are left
    out: they may repeat anything."""

    code: int
    text: bytes | str

    @property
    def enhanced(self) -> str:
        text = self.text.decode("ascii", "replace") if isinstance(self.text, bytes) else self.text
        found = re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", text)
        return found[0] if found else ""

    @property
    def for_good(self) -> bool:
        """Not of codes about security or policy: they speak of us, not of the recipient."""
        return 500 <= self.code < 600 and self.code not in AUTHENTICATION and not self.enhanced.startswith("5.7.")

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced}".strip()


def deliver(job: Job, services: Services) -> None:
    """Send the mail of a job. Raises TryLater or Hopeless."""
    mail, outcome = mails.of(job.data), "failed"
    try:
        outcome = attempt(mail, job, services)
    except Hopeless:
        outcome = "refused"
        raise
    finally:
        MAILS.labels(mail.template, outcome).inc()


def attempt(mail: Mail, job: Job, services: Services) -> str:
    """What came of it, in a word. Raises TryLater or Hopeless."""
    if not is_wanted(mail, services):
        return "unwanted"
    try:
        send(compose(job, services.settings, services.keyring), services.settings)
    except Refused as why:
        if job.user:
            services.accounts.email_refused(job.user, mail.to)
        raise Hopeless(str(why)) from None
    return "sent"


def is_wanted(mail: Mail, services: Services) -> bool:
    """Whether there is still something to say. A link that is used, replaced or expired has had its mail, or was taken
    back: a reset that is done, an account that is kept."""
    if mail.link is None:
        return True
    link_id, purpose = mail.link
    try:
        services.links.peek(links.token(services.keyring, link_id, purpose), services.store.clock(), purpose)
    except TokenInvalid:
        return False
    return True


def send(message: EmailMessage, settings: Settings) -> None:
    """Hand a mail to the server of `smtp_url`. Raises TryLater or Refused."""
    url = urlsplit(settings.smtp_url.get_secret_value())
    if not url.hostname:
        raise TryLater("There is no mail server: set AUTHSVC_SMTP_URL.")
    try:
        smtp = connect(url, settings)
        try:
            hand_over(smtp, message)
            say_goodbye(smtp)
        finally:
            smtp.close()
    except smtplib.SMTPRecipientsRefused as error:
        refuse("recipient", *next(iter(error.recipients.values())))
    except smtplib.SMTPDataError as error:
        refuse("message", error.smtp_code, error.smtp_error)
    except smtplib.SMTPResponseException as error:
        what = "login" if isinstance(error, smtplib.SMTPAuthenticationError) else "sender or the connection"
        raise TryLater(f"The mail server refused our {what}: {Reply(error.smtp_code, error.smtp_error)}.") from None
    except smtplib.SMTPNotSupportedError as error:
        raise TryLater(f"The mail server lacks what this mail needs: {error}") from None
    except UnicodeEncodeError:
        raise TryLater("User and password in AUTHSVC_SMTP_URL must be of ASCII.") from None
    except ssl.SSLError as error:
        raise TryLater(f"No TLS with the mail server: {error.reason or type(error).__name__}.") from None
    except OSError as error:  # of smtplib, too: a server that does not speak, or hangs up
        raise TryLater(f"The mail server could not be reached to the end: {type(error).__name__}.") from None


def refuse(what: str, code: int, text: bytes | str) -> NoReturn:
    reply = Reply(code, text)
    if reply.for_good:
        raise Refused(f"The mail server refused the {what} for good: {reply}.")
    raise TryLater(f"The mail server refused the {what}: {reply}.")


def connect(url: SplitResult, settings: Settings) -> "Bounded":
    """A connection that is safe to send on, logged in where the URL has a user. Raises OSError, of smtplib or not."""
    host, secure = str(url.hostname), ssl.create_default_context()
    known_as = parseaddr(settings.sender)[1].rpartition("@")[2]
    limits: dict[str, Any] = {"local_hostname": known_as, "deadline": time.monotonic() + settings.job_limit / 2}
    if url.scheme == "smtps":
        smtp: Bounded = BoundedTls(host, url.port or 465, context=secure, **limits)
    else:
        smtp = Bounded(host, url.port or 587, **limits)
    try:
        if url.scheme == "smtp" and not is_loopback(host):
            smtp.starttls(context=secure)
        if url.username:
            smtp.login(unquote(url.username), unquote(url.password or ""))
    except BaseException:
        smtp.close()
        raise
    return smtp


def hand_over(smtp: smtplib.SMTP, message: EmailMessage) -> None:
    """When this returns, the server has the mail. Raises OSError, of smtplib or not."""
    sender, to = (message[name].addresses[0].addr_spec for name in ("From", "To"))
    options = () if f"{sender}{to}".isascii() else ("SMTPUTF8",)
    smtp.sendmail(sender, [to], message.as_bytes(), mail_options=options)


def say_goodbye(smtp: "Bounded") -> None:
    """RFC 5321 asks for a QUIT. The mail is sent, whatever is answered."""
    with suppress(OSError):
        smtp.deadline = time.monotonic() + GOODBYE
        smtp.quit()


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Bounded(smtplib.SMTP):
    """A connection with an end: each answer may take a while, and all of them together until `deadline`."""

    def __init__(self, host: str, port: int, *, deadline: float, **options: Any) -> None:
        self.deadline = deadline
        super().__init__(host, port, timeout=self._left(), **options)

    def getreply(self) -> tuple[int, bytes]:
        if self.sock:
            self.sock.settimeout(self._left())
        return super().getreply()

    def _left(self) -> float:
        left = min(STEP, self.deadline - time.monotonic())
        if left <= 0:
            raise TimeoutError
        return left


class BoundedTls(Bounded, smtplib.SMTP_SSL):
    """The same with TLS from the start."""
