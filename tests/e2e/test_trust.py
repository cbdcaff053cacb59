"""Signature policies: what may be pulled and run, by cosign's formats. The signatures are made by openssl here and are
put into the reference registry by plain HTTP, so that nothing but the formats is relied on."""

import base64
import hashlib
import json
import signal
import subprocess
import urllib.request

import pytest
from archives import digest_of
from conftest import BIN, Failed, blobs, wait_until

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def b64(data):
    return base64.b64encode(data).decode()


def openssl(*arguments, input=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=input, check=True, capture_output=True).stdout


class Signer:
    """A key pair; signs as `cosign sign --key` does, and openssl itself says that the signature is right."""

    def __init__(self, folder, name, *algorithm):
        self.private, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        algorithm = algorithm or ("EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        openssl("genpkey", "-algorithm", *algorithm, "-out", self.private)
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)
        self.folder = folder

    def sign(self, data):
        (self.folder / "data").write_bytes(data)
        signature = openssl("dgst", "-sha256", "-sign", self.private, self.folder / "data")
        (self.folder / "signature").write_bytes(signature)
        openssl("dgst", "-sha256", "-verify", self.public, "-signature", self.folder / "signature", self.folder / "data")
        return signature


def payload(digest, reference=""):
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


class Repository:
    """A repository in the registry, written by hand."""

    def __init__(self, registry, name):
        self.registry, self.name = registry, name
        self.full = f"{registry.address}/{name}"

    def request(self, method, path, data=None, **headers):
        url = path if path.startswith("http") else f"http://{self.registry.address}/v2/{self.name}/{path}"
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=10)

    def blob(self, data):
        with self.request("POST", "blobs/uploads/", b"") as answer:
            place = answer.headers["Location"]
        place += ("&" if "?" in place else "?") + "digest=" + digest_of(data)
        self.request("PUT", place, data, Content_Type="application/octet-stream").close()
        return {"digest": digest_of(data), "size": len(data)}

    def manifest(self, name, document, kind=OCI_MANIFEST):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.request("PUT", f"manifests/{name}", data, Content_Type=kind).close()
        return digest_of(data)

    def digest(self, tag):
        return self.registry.manifest(self.name, tag)[0]

    def attach(self, digest, *layers):
        """cosign's tag for the digest, with these layers."""
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", **self.blob(b"{}")}
        self.manifest(
            digest.replace(":", "-") + ".sig",
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": list(layers)},
        )

    def layer(self, signer, claim, **annotations):
        annotations = {f"dev.sigstore.cosign/{key}": value for key, value in annotations.items()}
        annotations["dev.cosignproject.cosign/signature"] = b64(signer.sign(claim))
        kind = "application/vnd.dev.cosign.simplesigning.v1+json"
        return {"mediaType": kind, "annotations": annotations, **self.blob(claim)}

    def sign(self, signer, digest):
        self.attach(digest, self.layer(signer, payload(digest)))

    def index(self, tag, *manifests):
        entries = []
        for architecture, digest in manifests:
            with self.request("GET", f"manifests/{digest}", Accept=KINDS) as answer:
                entries.append(
                    {
                        "mediaType": answer.headers["Content-Type"],
                        "digest": digest,
                        "size": len(answer.read()),
                        "platform": {"os": "linux", "architecture": architecture},
                    }
                )
        return self.manifest(tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, OCI_INDEX)


KINDS = f"application/vnd.docker.distribution.manifest.v2+json, {OCI_MANIFEST}"


class Policy:
    """The daemon's policy file."""

    def __init__(self, path):
        self.path = path
        self.daemon = None

    def write(self, default="accept", reload=True, **rest):
        rules = {key: value for key, value in rest.pop("rules", {}).items()}
        self.text(json.dumps({"default": default, "repositories": rules, **rest}), reload)

    def text(self, text, reload=True):
        self.path.write_text(text)
        if self.daemon and reload:
            self.reload()

    def reload(self):
        seen = self.daemon.log.read_text().count("reloaded the configuration")
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: self.daemon.log.read_text().count("reloaded the configuration") > seen, 10, "the policy to be read"
        )


def signed_by(*signers, **more):
    rule = {"signedBy": {"keys": [str(signer.public) for signer in signers], **more.pop("signers", {})}}
    return {**rule, **more}


@pytest.fixture
def signer(tmp_path):
    return Signer(tmp_path, "team")


@pytest.fixture
def stranger(tmp_path):
    return Signer(tmp_path, "stranger")


@pytest.fixture
def repository(registry, pushed):
    return Repository(registry, pushed)


@pytest.fixture
def policy(tmp_path):
    policy = Policy(tmp_path / "trust.json")
    policy.write()
    return policy


@pytest.fixture
def guard(make_daemon, policy):
    """A daemon with the policy file."""
    daemon = make_daemon("--trust-policy", policy.path)
    policy.daemon = daemon
    return daemon


@pytest.fixture(params=["corten", "docker"])
def client(request, guard):
    client = getattr(guard, request.param)
    if client is None:
        pytest.skip("no docker CLI on the PATH")
    return client


def test_pull_and_run_what_is_signed(client, guard, policy, repository, signer, stranger):
    name = f"{repository.full}:1"
    policy.write(rules={f"{repository.registry.address}/team/*": signed_by(signer)})
    before = blobs(guard)

    # Without a signature, with somebody else's, with one for another image.
    error = client.fails("pull", name)
    assert f"the signature policy refuses {repository.full}" in error
    assert "a signature by key team.pub (ECDSA P-256, sha256:" in error and "there is no signature" in error
    repository.sign(stranger, repository.digest("1"))
    error = client.fails("pull", name)
    assert "signature 1 (cosign for sha256:" in error and "it is not by the rule's key" in error
    other = "sha256:" + "d" * 64
    repository.attach(repository.digest("1"), repository.layer(signer, payload(other)))
    assert f"it is for another image, {other}" in client.fails("pull", name)
    error = client.fails("run", "--rm", name, "true", code=125)
    assert f"the signature policy refuses {repository.full}" in error
    assert blobs(guard) == before and client("images", "-q", repository.full) == ""

    repository.attach(
        repository.digest("1"),
        repository.layer(stranger, payload(repository.digest("1"))),
        repository.layer(signer, payload(repository.digest("1"))),
    )
    client("pull", name)
    assert client("run", "--rm", name, "cat", "/second") == "second"
    client("pull", name)  # again, everything here
    assert client("run", "--rm", f"{repository.full}@{repository.digest('1')}", "cat", "/second") == "second"
    assert client("run", "--rm", client("images", "-q", repository.full), "cat", "/second") == "second"
    # The evidence is on disk, not in the daemon.
    guard.restart()
    assert client("run", "--rm", name, "cat", "/second") == "second"


def test_a_policy_that_comes_later(client, guard, policy, repository, signer, stranger):
    name = f"{repository.full}:1"
    client("pull", name)
    client("create", "--name", "early", name, "cat", "/second")
    policy.write(rules={repository.full: signed_by(signer)})
    error = client.fails("run", "--rm", name, "true", code=125)
    assert "there is no signature" in error and "pull the image again" in error
    client.fails("create", name)
    client.fails("run", "--rm", client("images", "-q", repository.full), "true", code=125)
    # A container that was made before is what it was.
    assert client("start", "-a", "early") == "second"
    client("rm", "early")

    repository.sign(signer, repository.digest("1"))
    client("pull", name)
    assert client("run", "--rm", name, "cat", "/second") == "second"
    policy.write(rules={repository.full: signed_by(stranger)})
    assert "it is not by the rule's key" in client.fails("run", "--rm", name, "true", code=125)
    policy.write(rules={repository.full: "reject"})
    assert "wants to reject it" in client.fails("run", "--rm", name, "true", code=125)
    assert "wants to reject it" in client.fails("pull", name)
    policy.write()
    assert client("run", "--rm", name, "cat", "/second") == "second"


def test_another_spelling_of_the_registry_is_no_way_round(client, guard, policy, repository, signer):
    """The same registry and port; only the text is another."""
    host, port = repository.registry.address.split(":")
    odd = f"{host}:0{port}/{repository.name}:1"
    client("pull", odd)
    client("rmi", odd)
    policy.write(rules={f"{repository.registry.address}/team/*": signed_by(signer)})
    assert f'its rule "{repository.registry.address}/team/*" wants' in client.fails("pull", odd)
    client("tag", "busybox", odd)
    assert "there is no signature" in client.fails("run", "--rm", odd, "true", code=125)
    client("rmi", odd)
    repository.sign(signer, repository.digest("1"))
    client("pull", odd)
    assert client("run", "--rm", odd, "cat", "/second") == "second"
    # A rule of that form would never match: the old policy stays.
    policy.write(rules={f"{host}:0{port}/team/*": "accept"})
    log = guard.log.read_text()
    assert f"127.0.0.1:0{port}/team/*" in log and "stays as it was" in log


def test_a_comma_in_the_name_of_the_file(make_daemon, tmp_path):
    """Commas part the fields of a security option; docker refuses to show what does not fit."""
    path = tmp_path / "a,b.json"
    path.write_text('{"default": "accept"}')
    daemon = make_daemon("--trust-policy", path)
    shown = f"policy={str(path).replace(',', '%2C')}"
    assert f"name=trust,{shown}" in daemon.corten.json("info", "--format", "{{json .SecurityOptions}}")
    assert shown in daemon.corten("info")
    if daemon.docker:  # shows names alone
        assert "\n  trust\n" in daemon.docker("info")


def test_names_smuggle_nothing(guard, policy, repository, signer, tmp_path):
    cli, name = guard.corten, f"{repository.full}:1"
    cli("pull", name)
    policy.write(rules={f"{repository.registry.address}/team/*": signed_by(signer)})
    # Another name does not help, nor does the loss of the first one, nor a container's changes on top, nor a mount.
    cli("tag", name, "innocent:1")
    assert f"refuses {repository.full}" in cli.fails("run", "--rm", "innocent:1", "true", code=125)
    cli("rmi", name)
    assert f"refuses {repository.full}" in cli.fails("run", "--rm", "innocent:1", "true", code=125)
    error = cli.fails("run", "--rm", "--mount", "type=image,source=innocent:1,target=/x", "busybox", "true", code=125)
    assert f"refuses {repository.full}" in error
    policy.write()
    cli("run", "--name", "maker", "innocent:1", "touch", "/more")
    cli("commit", "maker", "made:1")
    cli("rm", "maker")
    policy.write(rules={f"{repository.registry.address}/team/*": signed_by(signer)})
    error = cli.fails("run", "--rm", "made:1", "true", code=125)
    assert "what the image was made from" in error and f"refuses {repository.full}" in error
    said = cli("trust", "inspect", "made:1", code=1)
    assert "Verdict: is refused" in said and f", {repository.full}: refused by the rule" in said
    assert cli.fails("create", "made:1").split(": ", 1)[1] == cli.json(
        "trust", "inspect", "--format", "json", "made:1", code=1
    )["Refusal"]
    # What was made here does not get in under a protected name.
    cli("run", "--rm", "busybox", "true")
    cli("tag", "busybox", f"{repository.registry.address}/team/own:1")
    assert "refuses" in cli.fails("run", "--rm", f"{repository.registry.address}/team/own:1", "true", code=125)
    assert "refuses" in cli.fails("run", "--rm", "busybox", "true", code=125)
    cli("rmi", f"{repository.registry.address}/team/own:1")
    cli("run", "--rm", "busybox", "true")
    # An archive carries no signatures.
    repository.sign(signer, repository.digest("1"))
    cli("rmi", "made:1", "innocent:1")
    cli("pull", name)
    cli("run", "--rm", name, "true")
    cli("save", "-o", str(tmp_path / "x.tar"), name)
    cli("rmi", name)
    cli("load", "-i", str(tmp_path / "x.tar"))
    assert "there is no signature" in cli.fails("run", "--rm", name, "true", code=125)
    cli("pull", name)
    cli("run", "--rm", name, "true")


def test_a_tag_that_moves(guard, policy, repository, signer):
    """The registry moves a signed tag to an unsigned image, and a signature to another image's tag."""
    cli = guard.corten
    signed = repository.digest("1")
    repository.sign(signer, signed)
    policy.write(rules={repository.full: signed_by(signer)})
    cli("pull", f"{repository.full}:1")
    with repository.request("GET", f"manifests/{signed}", Accept=KINDS) as answer:
        kind, document = answer.headers["Content-Type"], answer.read()
    other = repository.manifest("1", document + b"\n", kind)
    assert other != signed
    assert "there is no signature" in cli.fails("pull", f"{repository.full}:1")
    with repository.request("GET", f"manifests/{signed.replace(':', '-')}.sig", Accept=OCI_MANIFEST) as answer:
        repository.manifest(other.replace(":", "-") + ".sig", answer.read())
    assert f"it is for another image, {signed}" in cli.fails("pull", f"{repository.full}:1")
    # What was good here still is.
    cli("run", "--rm", f"{repository.full}:1", "true")


@pytest.mark.parametrize("what", ["index", "manifest"])
def test_several_platforms(guard, policy, repository, signer, what):
    cli = guard.corten
    manifest = repository.digest("1")
    machine = cli("version", "--format", "{{.Server.Arch}}")
    index = repository.index("many", (machine, manifest))
    policy.write(rules={repository.full: signed_by(signer)})
    assert "there is no signature" in cli.fails("pull", f"{repository.full}:many")
    repository.sign(signer, index if what == "index" else manifest)
    cli("pull", f"{repository.full}:many")
    assert cli("run", "--rm", f"{repository.full}:many", "cat", "/second") == "second"


def test_bundles(guard, policy, repository, signer, stranger):
    """Referrers: this registry has no API for them, so by the tag."""
    cli, name, digest = guard.corten, f"{repository.full}:1", repository.digest("1")
    policy.write(rules={repository.full: signed_by(signer)})

    def attach(content):
        bundle = {"mediaType": BUNDLE, "verificationMaterial": {"publicKey": {"hint": "x"}}, **content}
        layer = {"mediaType": BUNDLE, **repository.blob(json.dumps(bundle).encode())}
        config = {"mediaType": "application/vnd.oci.empty.v1+json", **repository.blob(b"{}")}
        artifact = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": BUNDLE,
                "config": config,
                "layers": [layer],
                "subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1},
            }
        ).encode()
        repository.manifest(digest_of(artifact), artifact)
        entry = {"mediaType": OCI_MANIFEST, "artifactType": BUNDLE, "digest": digest_of(artifact), "size": len(artifact)}
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
        repository.manifest(digest.replace(":", "-"), index, OCI_INDEX)

    def envelope(by, predicate, subject=digest):
        statement = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": subject.split(":")[1]}}],
            "predicateType": predicate,
            "predicate": {},
        }
        text, kind = json.dumps(statement).encode(), "application/vnd.in-toto+json"
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(text), text)
        return {
            "dsseEnvelope": {"payload": b64(text), "payloadType": kind, "signatures": [{"sig": b64(by.sign(signed))}]}
        }

    attach(envelope(stranger, "https://sigstore.dev/cosign/sign/v1"))
    assert "signature 1 (sigstore bundle for" in cli.fails("pull", name)
    attach(envelope(signer, "https://slsa.dev/provenance/v1"))
    assert "no signature but an attestation" in cli.fails("pull", name)
    attach(envelope(signer, "https://sigstore.dev/cosign/sign/v1"))
    cli("pull", name)
    assert cli("run", "--rm", name, "cat", "/second") == "second"
    cli("rmi", name)
    with repository.request("GET", f"manifests/{digest}", Accept=KINDS) as answer:
        document = answer.read()
    attach(
        {
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(document).digest())},
                "signature": b64(signer.sign(document)),
            }
        }
    )
    cli("pull", name)
    assert cli("run", "--rm", name, "cat", "/second") == "second"


def test_certificates(guard, policy, repository, tmp_path, signer):
    cli, name, digest = guard.corten, f"{repository.full}:1", repository.digest("1")
    root = Signer(tmp_path, "root")
    openssl("req", "-x509", "-new", "-key", root.private, "-subj", "/CN=root", "-days", "30", "-out", tmp_path / "root.pem")
    extensions = tmp_path / "extensions"
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n"
        "subjectAltName=email:me@team.test\n1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:https://login.test\n"
    )
    openssl("req", "-new", "-key", signer.private, "-subj", "/CN=x", "-out", tmp_path / "request")
    certificate = openssl(
        "x509", "-req", "-in", tmp_path / "request", "-CA", tmp_path / "root.pem", "-CAkey", root.private,
        "-days", "3", "-extfile", extensions,
    ).decode()  # fmt: skip

    def rule(subject, issuer):
        identities = [{"subject": subject, "issuer": issuer}]
        certificates = {"roots": str(tmp_path / "root.pem"), "identities": identities}
        policy.write(rules={repository.full: {"signedBy": {"certificates": certificates}}})

    repository.attach(digest, repository.layer(signer, payload(digest), certificate=certificate))
    rule("you@team.test", "https://login.test")
    assert "its certificate is of me@team.test (issuer https://login.test)" in cli.fails("pull", name)
    rule("me@team.test", "https://other.test")
    assert "whom the rule does not name" in cli.fails("pull", name)
    rule("me@team.test", "https://login.test")
    cli("pull", name)
    cli("run", "--rm", name, "true")


def test_a_mirror_serves_signatures_too(make_daemon, policy, repository, signer):
    """The name is Docker Hub's, the bytes are the mirror's."""
    policy.write(rules={f"docker.io/{repository.name}": signed_by(signer)})
    daemon = make_daemon("--trust-policy", policy.path, "--registry-mirror", f"http://{repository.registry.address}")
    # Docker Hub is not there; what the mirror had is said all the same.
    daemon.stop()
    daemon.environment.update(HTTPS_PROXY="http://127.0.0.1:1", NO_PROXY="127.0.0.1")
    daemon.start()
    error = daemon.corten.fails("pull", f"{repository.name}:1")
    assert "what a mirror has was refused" in error and "there is no signature" in error
    repository.sign(signer, repository.digest("1"))
    daemon.corten("pull", f"{repository.name}:1")
    assert daemon.corten("run", "--rm", f"{repository.name}:1", "cat", "/second") == "second"


def test_hostile_signatures(guard, policy, repository, signer):
    """Too many, too large, cut, missing: an error in words, and the good one beside them still counts."""
    cli, name, digest = guard.corten, f"{repository.full}:1", repository.digest("1")
    policy.write(rules={repository.full: signed_by(signer)})
    good = repository.layer(signer, payload(digest))
    huge = repository.layer(signer, payload(digest) + b" " * 100_000)
    bare = {key: value for key, value in good.items() if key != "annotations"}
    kind = {**good, "mediaType": "text/plain"}
    odd = {**good, "annotations": {"dev.cosignproject.cosign/signature": "\x1b[2J"}}
    repository.attach(digest, huge, bare, kind, odd)
    error = cli.fails("pull", name)
    for part in (f"{huge['size']} bytes", "no annotation with a signature", "text/plain", "its signature is not base64"):
        assert part in error
    assert "\x1b" not in error
    repository.attach(digest, huge, bare, kind, odd, good)
    cli("pull", name)
    cli("rmi", name)
    repository.attach(digest, *[bare] * 60, good)
    assert "of which 50 were looked at" in cli.fails("pull", name)
    repository.manifest(digest.replace(":", "-") + ".sig", {"schemaVersion": 2, "manifests": []}, OCI_INDEX)
    assert "refuses" in cli.fails("pull", name)


def test_trust_inspect(guard, policy, repository, signer, stranger):
    cli, name = guard.corten, f"{repository.full}:1"
    cli("pull", name)
    said = cli("trust", "inspect", name)
    assert "Verdict: may be run" in said and "accepted by the default" in said
    policy.write(rules={repository.full: signed_by(signer, stranger, signers={"threshold": 2})})
    said = cli("trust", "inspect", name, code=1)
    assert "Verdict: is refused" in said and f"{repository.full}: refused by the rule {repository.full}" in said
    assert "there is no signature here" in said
    digest = repository.digest("1")
    repository.attach(digest, repository.layer(signer, payload(digest)))
    assert "signed by key team.pub sha256:" in cli.fails("pull", name)
    repository.attach(digest, repository.layer(signer, payload(digest)), repository.layer(stranger, payload(digest)))
    cli("pull", name)
    said = cli("trust", "inspect", name)
    assert said.count("  signed by key ") == 2 and str(policy.path) in said
    answer = cli.json("trust", "inspect", "--format", "json", name)
    assert answer["Accepted"] and {signature["Digest"] for signature in answer["Signatures"]} == {digest}
    assert "No such image" in cli.fails("trust", "inspect", "nothing:here")
    assert "trust" in cli("info", "--format", "{{.SecurityOptions}}")


def test_all_tags_leaves_signatures_out(guard, repository, signer):
    repository.sign(signer, repository.digest("1"))
    said = guard.corten("pull", "-a", repository.full)
    assert "1: Pulling from" in said and ".sig" not in said


def test_files_that_cannot_be_read(make_daemon, policy, repository, tmp_path, signer):
    def start():
        daemon = make_daemon("--trust-policy", policy.path, start=False)
        with pytest.raises(Failed) as failure:
            daemon.start()
        return str(failure.value)

    policy.text('{"default": "acept"}')
    assert "signature policy" in start() and "acept" in start()
    validate = subprocess.run([BIN / "cortend", "--validate", "--trust-policy", policy.path], capture_output=True, text=True)
    assert validate.returncode == 1 and "acept" in validate.stderr
    policy.path.unlink()
    assert "No such file" in start() or "no such file" in start()

    policy.write(default="reject")
    daemon = policy.daemon = make_daemon("--trust-policy", policy.path)
    assert "its default wants to reject it" in daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    for text in ('{"default": "accept"', '{"default":"accept","default":"accept"}', '{"default":"accept","x":1}'):
        policy.text(text)
        assert "stays as it was" in daemon.log.read_text()
        daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    policy.path.unlink()
    policy.reload()
    daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    policy.write(default="accept")
    daemon.corten("run", "--rm", "busybox", "true")
    policy.path.chmod(0o666)
    policy.text('{"default": "reject"}')
    assert "can be written by others" in daemon.log.read_text()
    daemon.corten("run", "--rm", "busybox", "true")


def test_the_file_is_named_in_daemon_json(make_daemon, policy, tmp_path):
    daemon = policy.daemon = make_daemon()
    policy.write(default="reject", reload=False)
    config = daemon.base / "daemon.json"
    config.write_text(json.dumps({"trust-policy": str(policy.path)}))
    policy.reload()
    assert "wants to reject it" in daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    # The name alone is no way to get rid of a policy.
    config.write_text("{}")
    policy.reload()
    daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    config.write_text(json.dumps({"trust-policy": str(tmp_path / "none")}))
    policy.reload()
    daemon.corten.fails("run", "--rm", "busybox", "true", code=125)
    other = tmp_path / "other.json"
    other.write_text('{"default": "accept"}')
    config.write_text(json.dumps({"trust-policy": str(other)}))
    policy.reload()
    daemon.corten("run", "--rm", "busybox", "true")
