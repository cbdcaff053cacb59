"""The reference registry for tests: plain, with a password, with tokens."""

import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
import warnings

import pytest
from conftest import wait_until

REGISTRY = shutil.which("docker-registry")
SKOPEO = shutil.which("skopeo")


def need_skopeo():
    if SKOPEO is None:
        pytest.skip("needs skopeo")


def repository_name(tmp_path, owner):
    """A repository of this test's own."""
    return f"{owner}/" + tmp_path.name.replace("[", "-").replace("]", "").strip("-_").lower()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry:
    """docker-registry on a free loopback port; with `password`, for the user "me" only and, unless told otherwise, behind TLS.

    `more` goes into its configuration as it is. Skips the test where the program is missing."""

    def __init__(self, base, password=None, more="", tls=True):
        if REGISTRY is None:
            pytest.skip("needs docker-registry")
        self.base, self.port = pathlib.Path(base), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.scheme = "https" if password and tls else "http"
        config = self.base / "config.yml"
        text = (
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {self.base}/data}}, delete: {{enabled: true}}}}\n"
            f"http:\n  addr: '{self.address}'\n"
        )
        if self.scheme == "https":
            self.make_certificate()
            text += f"  tls: {{certificate: {self.base}/cert.pem, key: {self.base}/key.pem}}\n"
        if password:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                import crypt
            cheap = crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)  # it is asked for with each request
            (self.base / "users").write_text(f"me:{crypt.crypt(password, cheap)}\n")
            text += f"auth: {{htpasswd: {{realm: test, path: {self.base}/users}}}}\n"
        config.write_text(text + more)
        with open(self.base / "log", "wb") as log:
            self.process = subprocess.Popen([REGISTRY, "serve", config], stdout=log, stderr=log)
        wait_until(self.answers, 20, "docker-registry to answer")

    def make_certificate(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
             "-keyout", self.base / "key.pem", "-out", self.base / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip

    def answers(self):
        try:
            return self.get("/v2/").status == 200
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False

    def get(self, path, accept=None):
        url = f"{self.scheme}://{self.address}{path}"
        request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
        return urllib.request.urlopen(request, timeout=10, context=ssl._create_unverified_context())

    def put(self, archive, name, *more):
        """A docker-archive into the registry, by skopeo."""
        need_skopeo()
        subprocess.run(
            ["skopeo", "--tmpdir", self.base, "copy", "-q", "--dest-tls-verify=false", *more,
             f"docker-archive:{archive}", f"docker://{self.address}/{name}"],
            check=True, capture_output=True,
        )  # fmt: skip

    def manifest(self, name, tag):
        accept = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
        with self.get(f"/v2/{name}/manifests/{tag}", accept) as answer:
            return answer.headers["Docker-Content-Digest"], json.loads(answer.read())

    def blob_file(self, digest):
        digits = digest.split(":")[1]
        return self.base / "data/docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"

    def stop(self):
        self.process.kill()
        self.process.wait()
