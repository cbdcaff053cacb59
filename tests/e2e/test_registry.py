"""Pulling, against the reference registry: plain on loopback, with what it is told to hide, cut or forge by a proxy of ours."""

import http.server
import json
import subprocess
import threading

import pytest
from archives import digest_of
from conftest import blobs, images
from registries import free_port


def test_pull_by_tag_and_digest(registry, pushed, cli, daemon):
    full = f"{registry.address}/{pushed}"
    digest, manifest = registry.manifest(pushed, "1")
    said = cli("pull", f"{full}:1")
    assert f"1: Pulling from {pushed}" in said and said.endswith(f"{full}:1")
    assert f"Digest: {digest}" in said and f"Status: Downloaded newer image for {full}:1" in said
    for layer in manifest["layers"][1:]:
        assert f"{layer['digest'][7:19]}: Pull complete" in said
    assert cli("run", "--rm", f"{full}:1", "cat", "/second") == "second"
    inspect = cli.json("image", "inspect", f"{full}:1")[0]
    assert inspect["Id"] == manifest["config"]["digest"]
    assert inspect["RepoTags"] == [f"{full}:1"] and inspect["RepoDigests"] == [f"{full}@{digest}"]
    again = cli("pull", f"{full}:1")
    assert f"Status: Image is up to date for {full}:1" in again and "Pull complete" not in again
    cli("rmi", f"{full}:1")
    assert inspect["Id"] not in images(cli)
    assert cli("pull", "-q", f"{full}@{digest}") == f"{full}@{digest}"
    assert cli("run", "--rm", f"{full}@{digest}", "cat", "/second") == "second"
    # The digest stays what it was, on disk and on the way out.
    assert digest.split(":")[1] in blobs(daemon)
    cli("rmi", f"{full}@{digest}")


def test_run_pulls_what_is_missing(registry, pushed, cli):
    full = f"{registry.address}/{pushed}:1"
    result = cli.run("run", "--rm", full, "cat", "/second")
    assert result.code == 0 and result.out == "second\n"
    assert f"Unable to find image '{full}' locally" in result.err
    cli("rmi", full)
    assert cli.run("run", "--rm", "--pull", "never", full, "true").code == 125


def test_all_tags(registry, pushed, cli, tmp_path):
    full = f"{registry.address}/{pushed}"
    cli("pull", "-q", f"{full}:1")
    cli("save", "-o", str(tmp_path / "again.tar"), f"{full}:1")
    registry.put(tmp_path / "again.tar", f"{pushed}:2")
    cli("rmi", f"{full}:1")
    cli("pull", "-a", full)
    assert set(cli("images", "--format", "{{.Tag}}", full).split()) == {"1", "2"}
    cli("rmi", f"{full}:1", f"{full}:2")


def test_two_pulls_share_the_work(registry, pushed, daemon):
    cli, full = daemon.corten, f"{registry.address}/{pushed}:1"
    both = [cli.popen("pull", full, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for one in both:
        out, _ = one.communicate(timeout=60)
        assert one.returncode == 0, out
    _, manifest = registry.manifest(pushed, "1")
    log = (registry.base / "log").read_text(errors="replace")
    random = manifest["layers"][-1]["digest"]
    assert log.count(f"GET /v2/{pushed}/blobs/{random} ") == 1, "the layer was fetched more than once, or not at all"
    cli("rmi", full)


def test_tls_and_passwords(guarded, cli):
    name = f"{guarded.address}/me/box:1"
    cli("tag", "busybox", name)
    assert "no basic auth credentials" in cli.fails("push", name)
    assert "unauthorized" in cli.fails("login", "-u", "me", "--password-stdin", guarded.address, input="wrong")
    cli.fails("push", name)
    assert "Login Succeeded" in cli("login", "-u", "me", "--password-stdin", guarded.address, input="secret")
    assert ": digest: sha256:" in cli("push", name)
    cli("rmi", name)
    cli("pull", "-q", name)
    cli("rmi", name)
    cli("logout", guarded.address)
    assert "no basic auth credentials" in cli.fails("pull", name)


def test_errors_are_dockers(registry, cli):
    missing = f"{registry.address}/team/none"
    error = cli.fails("pull", f"{missing}:3")
    assert f"manifest for {missing}:3 not found: manifest unknown" in error
    assert "invalid reference format" in cli.fails("pull", "UPPER")
    port = free_port()
    assert "connection refused" in cli.fails("pull", f"127.0.0.1:{port}/x")


@pytest.mark.parametrize("how", ["flipped", "cut", "longer", "gone"])
def test_a_damaged_blob_leaves_nothing(registry, pushed, daemon, how):
    cli = daemon.corten
    _, manifest = registry.manifest(pushed, "1")
    file = registry.blob_file(manifest["layers"][-1]["digest"])
    whole = file.read_bytes()
    before, had = images(cli), blobs(daemon)
    try:
        if how == "flipped":
            file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        elif how == "cut":
            file.write_bytes(whole[:-100])
        elif how == "longer":
            file.write_bytes(whole + b"more")
        else:
            file.unlink()
        cli.fails("pull", f"{registry.address}/{pushed}:1")
    finally:
        file.write_bytes(whole)
    assert images(cli) == before and blobs(daemon) == had
    assert not list((daemon.data_root / "content/ingest").iterdir())
    cli("pull", "-q", f"{registry.address}/{pushed}:1")
    cli("rmi", f"{registry.address}/{pushed}:1")


class Liar(http.server.BaseHTTPRequestHandler):
    """Answers what `pages` says: path to (status, headers, body)."""

    pages = {}

    def do_GET(self):
        status, headers, body = self.pages.get(self.path, (404, {}, b"{}"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def liar():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    Liar.pages = {"/v2/": (200, {}, b"{}")}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", Liar.pages
    server.shutdown()
    server.server_close()


OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.mark.parametrize(
    "body, kind",
    [
        (b"not json", OCI),
        (b'{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"x","digest":"sha256:zz","size":1},"layers":[]}' % OCI.encode(), OCI),
        (b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode(), INDEX),
        (json.dumps({"schemaVersion": 2, "mediaType": OCI, "layers": [],
                     "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + "0" * 64, "size": 10**12}}).encode(), OCI),
        (b"[" * 100000, OCI),
        (b"x" * (5 << 20), OCI),
    ],
)  # fmt: skip
def test_manifests_that_are_none(daemon, liar, body, kind):
    address, pages = liar
    pages["/v2/a/b/manifests/1"] = (200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(body)}, body)
    before = images(daemon.corten)
    error = daemon.corten.fails("pull", f"{address}/a/b:1")
    assert len(error.splitlines()) <= 4 and len(error) < 1000, error
    assert images(daemon.corten) == before


def test_an_index_that_names_itself(daemon, liar):
    address, pages = liar
    # No body can hold its own digest; what comes nearest is a chain of indexes.
    body, kind = b"{}", OCI
    for _ in range(20):
        entry = {"mediaType": kind, "digest": digest_of(body), "size": len(body)}
        pages[f"/v2/a/b/manifests/{digest_of(body)}"] = (200, {"Content-Type": kind}, body)
        body, kind = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode(), INDEX
    pages["/v2/a/b/manifests/1"] = (200, {"Content-Type": INDEX}, body)
    assert "nested deeper" in daemon.corten.fails("pull", f"{address}/a/b:1")


def test_redirects_lead_to_no_inner_address(daemon, liar):
    address, pages = liar
    pages["/v2/a/b/manifests/1"] = (307, {"Location": "http://169.254.169.254/latest/meta-data"}, b"")
    assert "is a link-local address" in daemon.corten.fails("pull", f"{address}/a/b:1")
    pages["/v2/a/b/manifests/1"] = (307, {"Location": "/v2/a/b/manifests/1"}, b"")
    assert "redirect" in daemon.corten.fails("pull", f"{address}/a/b:1")
