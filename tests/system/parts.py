"""Web, bridge and worker apart, as deploy/README.md says."""

import os
import secrets
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.servers import free_port, missing, wait_for
from tests.smtp import SmtpServer
from tests.system.stack import CLI, Server, Stack, environment

PARTS = ("web", "bridge", "worker")


@contextmanager
def parts(
    folder: Path, database_url: str, redis_binary: str, nginx_binary: str, mail_server: SmtpServer
) -> Iterator[Stack]:
    """Web, bridge and worker apart, on PostgreSQL and a plain redis-server, behind nginx with TLS."""
    port, ports = free_port(), {part: free_port() for part in PARTS}
    ops_ports = {part: free_port() for part in PARTS}
    url, redis_socket = f"https://127.0.0.1:{port}", folder / "redis.sock"
    env = environment(
        public_url=url, secret_keys=secrets.token_urlsafe(32), database_url=database_url,
        redis_url=f"unix://{redis_socket}", trusted_proxies=1, web_workers=2, web_threads=24,
        smtp_url=mail_server.url, mail_from="authsvc <login@example.org>", log_format="json",
    )  # fmt: skip
    env["TMPDIR"] = str(folder)  # what those leave who are killed goes with it
    tls = certificate(folder)
    redis_options = {"unix_socket_path": str(redis_socket)}
    stack = Stack(url, folder, env, database_url, redis_options, ops_ports, tls, mail_server=mail_server)
    redis_command = (redis_binary, "--port", "0", "--unixsocket", str(redis_socket), "--dir", str(folder), "--save", "")
    conf = site(folder, port, ports["web"], ports["bridge"])
    commands = {
        "redis": (redis_command, env),
        **{
            part: ((*CLI, part), {**env, "AUTHSVC_PORT": str(ports[part]), "AUTHSVC_OPS_PORT": str(ops_ports[part])})
            for part in PARTS
        },
        "nginx": ((nginx_binary, "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(conf)), env),
    }
    stack.told("migrate")
    with ExitStack() as started:
        for name, (command, own_env) in commands.items():
            server = Server(command, folder / f"{name}.log", own_env)
            started.callback(server.kill)
            stack.servers.append(server)
        stack.wait_until_ready()
        _wait_for_the_bridge(stack)
        yield stack


def _wait_for_the_bridge(stack: Stack) -> None:
    def there() -> bool:
        answer = httpx.get(f"{stack.url}/events", verify=stack.tls or True, trust_env=False)
        return answer.status_code == httpx.codes.NO_CONTENT  # what a stranger gets

    wait_for(there, seconds=20)


def installed(program: str) -> str:
    """Where a program is; Debian keeps servers where only root looks."""
    path = shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin")))
    if path is None:
        missing(program)
    return str(path)


def certificate(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=authsvc test", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)),
        check=True, capture_output=True,
    )  # fmt: skip
    return ssl.create_default_context(cafile=str(certificate))


def site(folder: Path, port: int, web_port: int, bridge_port: int, inside: str = "") -> Path:
    """deploy/nginx.conf with other ports and paths, in the smallest configuration around it. `inside`: what else stands
    in its server block."""
    conf = (Path(__file__).parents[2] / "deploy" / "nginx.conf").read_text()
    for wanted, instead in {
        "127.0.0.1:8001": f"127.0.0.1:{web_port}",
        "127.0.0.1:8002": f"127.0.0.1:{bridge_port}",
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "login.example.org;": "127.0.0.1;",
        "https://login.example.org": f"https://127.0.0.1:{port}",
        "/etc/ssl/login.example.org/fullchain.pem": str(folder / "certificate.pem"),
        "/etc/ssl/login.example.org/privkey.pem": str(folder / "key.pem"),
        "/var/log/nginx/": f"{folder}/nginx-",
    }.items():
        assert wanted in conf
        conf = conf.replace(wanted, instead)
    conf = conf.rstrip().removesuffix("}") + inside + "}\n"
    bodies = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{each}_temp_path {folder}/{each};\n" for each in bodies)
    path = folder / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    path.write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nworker_processes 1;\nevents {{}}\nhttp {{\n{temporary}{conf}}}\n"
    )
    return path
