"""A worker as Celery is by default, whose task sends a mail: what our jobs are compared with."""

import os
import smtplib
from email.message import EmailMessage

from celery import Celery

app = Celery("stock", broker=os.environ.get("STOCK_BROKER", ""), set_as_current=False)


@app.task(name="stock.mail", autoretry_for=(OSError,), max_retries=None, retry_backoff=1)
def mail(to: str) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Message-ID"] = "no-reply@example.org", to, f"<{to}>"
    with smtplib.SMTP("127.0.0.1", int(os.environ["STOCK_SMTP_PORT"]), timeout=5) as smtp:
        smtp.send_message(message)
