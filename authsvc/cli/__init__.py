"""The command line. Rooms by noun; what a command needs is imported when it runs, so that each starts quickly."""

import os

import click

from authsvc.cli import client, job, key, service, session, user


@click.group(context_settings={"max_content_width": 100})
@click.version_option(package_name="authsvc", message="%(version)s")
def main() -> None:
    """Sessions and authentication: log in once and everything knows, log out once and everything forgets.

    Settings are read from AUTHSVC_* variables. Exit codes: 0 done, 1 refused, 2 misused.
    """
    os.umask(0o077)  # whatever is made belongs to its owner alone


for command in (service.run, service.web, service.bridge, service.worker, service.migrate, service.doctor):
    main.add_command(command)
main.add_command(user.user)
main.add_command(session.session)
main.add_command(job.job)
main.add_command(client.client)
main.add_command(key.key)
