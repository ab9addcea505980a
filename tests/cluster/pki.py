"""A cluster's certificates, made with openssl, and the kubeconfigs that hold them."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority in a folder; `NAME.crt` and `NAME.key` are what it has issued to NAME."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = folder / "ca.crt"
        self.key = folder / "ca.key"
        self.service_account_key = folder / "sa.key"
        self.service_account_public_key = folder / "sa.pub"

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """A new one, with the key pair that signs service accounts' tokens."""
        folder.mkdir(parents=True, mode=0o700)
        new = cls(folder)
        new._openssl(
            "req", "-x509", *_KEY, "-days", 3650, "-subj", "/CN=vajra-test", "-keyout", new.key, "-out", new.certificate
        )
        private = new.service_account_key
        new._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private)
        new._openssl("ec", "-in", private, "-pubout", "-out", new.service_account_public_key)
        return new

    def issue(
        self,
        name: str,
        *,
        user: str,
        group: str | None = None,
        addresses: Sequence[str] = (),
        hosts: Sequence[str] = (),
    ) -> tuple[Path, Path]:
        """A certificate for a user, or a server at these addresses and host names. Returns it and its key."""
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        subject = (f"/O={group}" if group else "") + f"/CN={user}"
        names = [f"IP:{address}" for address in addresses] + [f"DNS:{host}" for host in hosts or ["localhost"]]
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("req", *_KEY, "-subj", subject, "-keyout", key, "-out", request)
        sign = ("-CA", self.certificate, "-CAkey", self.key, "-set_serial", secrets.randbits(63), "-days", 3650)
        self._openssl("x509", "-req", "-in", request, *sign, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def kubeconfig(self, path: Path, server: str, *, user: str, group: str | None = None) -> Path:
        """Writes a kubeconfig for a user, whose certificate is issued here. It needs no other file."""
        certificate, key = self.issue(path.stem, user=user, group=group)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "vajra-test",
            "contexts": [{"name": "vajra-test", "context": {"cluster": "vajra-test", "user": user}}],
            "clusters": [
                {
                    "name": "vajra-test",
                    "cluster": {"server": server, "certificate-authority-data": _base64(self.certificate)},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
                }
            ],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=1))  # JSON is YAML
        return path

    def _openssl(self, *arguments: object) -> None:
        result = subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]} failed: {result.stderr.strip()}")


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
