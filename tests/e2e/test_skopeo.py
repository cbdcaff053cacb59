"""skopeo reads what we push, with equal digests; what skopeo pushed we pull, and push again as it was."""

import json
import subprocess

import pytest
from registries import SKOPEO, need_skopeo, repository_name


def skopeo(*arguments):
    need_skopeo()
    done = subprocess.run([SKOPEO, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def archive(daemon, tmp_path):
    """A two-layer image as an OCI layout, and nowhere else: of a layer that it has pushed before skopeo takes the old form."""
    cli = daemon.corten
    cli("run", "--name", "maker", "busybox", "sh", "-c", "head -c 1000 /dev/urandom > /first")
    cli("export", "-o", tmp_path / "base.tar", "maker")
    cli("import", tmp_path / "base.tar", "base")
    cli("rm", "maker")
    cli("run", "--name", "maker", "base", "sh", "-c", "head -c 300000 /dev/urandom > /random; echo hello > /hello")
    cli("commit", "-c", "CMD cat /hello", "maker", "made")
    cli("rm", "maker")
    cli("save", "-o", tmp_path / "made.tar", "made")
    cli("rmi", "made", "base")
    layout = f"oci:{tmp_path}/layout:1"
    skopeo("--tmpdir", tmp_path, "copy", "-q", f"docker-archive:{tmp_path}/made.tar", layout)
    return layout


def raw(name):
    return json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}"))


def digest(name):
    return skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}").strip()


@pytest.mark.parametrize(
    "how, kind",
    [
        (["--format", "oci"], "oci.image.layer.v1.tar+gzip"),
        (["--format", "v2s2"], "docker.image.rootfs.diff.tar.gzip"),
        (["--format", "oci", "--dest-compress-format", "zstd"], "oci.image.layer.v1.tar+zstd"),
        (["--format", "oci", "--dest-decompress"], "oci.image.layer.v1.tar"),
    ],
    ids=["oci", "docker", "zstd", "plain"],
)
def test_what_skopeo_pushed_comes_back_as_it_was(registry, archive, daemon, tmp_path, how, kind):
    cli, name = daemon.corten, f"{registry.address}/{repository_name(tmp_path, 'skopeo')}"
    if "--dest-decompress" in how:
        # Only a directory is written uncompressed; a registry takes over what is in it.
        skopeo("copy", "-q", "--dest-decompress", archive, f"dir:{tmp_path}/plain")
        skopeo("copy", "-q", "--dest-tls-verify=false", "--preserve-digests", f"dir:{tmp_path}/plain", f"docker://{name}:1")
    else:
        compress = ["--dest-compress"] if "zstd" in how else []
        skopeo("copy", "-q", "--dest-tls-verify=false", *how, *compress, archive, f"docker://{name}:1")
    manifest = raw(f"{name}:1")
    assert {layer["mediaType"] for layer in manifest["layers"]} == {f"application/vnd.{kind}"}
    cli("pull", "-q", f"{name}:1")
    assert cli("run", "--rm", f"{name}:1") == "hello"
    repository_digest = cli("image", "inspect", "-f", "{{index .RepoDigests 0}}", f"{name}:1")
    assert repository_digest == f"{name}@{digest(f'{name}:1')}"
    # Into a repository that has nothing of it, byte for byte.
    cli("tag", f"{name}:1", f"{name}-again:1")
    said = cli("push", f"{name}-again:1")
    assert digest(f"{name}-again:1") == digest(f"{name}:1") and digest(f"{name}:1") in said
    assert raw(f"{name}-again:1") == manifest
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}-again:1", f"dir:{tmp_path}/read")


def test_skopeo_reads_what_we_push(registry, daemon, tmp_path):
    cli, name = daemon.corten, f"{registry.address}/{repository_name(tmp_path, 'ours')}"
    cli("run", "--name", "maker", "busybox", "sh", "-c", "head -c 300000 /dev/urandom > /random")
    cli("commit", "maker", f"{name}:1")
    cli("rm", "maker")
    said = cli("push", f"{name}:1")
    assert f"1: digest: {digest(f'{name}:1')} size: " in said
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}:1", f"oci:{tmp_path}/read:1")
    index = json.loads((tmp_path / "read/index.json").read_text())
    assert index["manifests"][0]["digest"] == digest(f"{name}:1")
    # And back: the same image.
    skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{tmp_path}/read:1", f"docker://{name}:2")
    assert digest(f"{name}:2") == digest(f"{name}:1")
    identity = cli("image", "inspect", "-f", "{{.Id}}", f"{name}:1")
    cli("rmi", f"{name}:1")
    cli("pull", "-q", f"{name}:2")
    assert cli("image", "inspect", "-f", "{{.Id}}", f"{name}:2") == identity


def test_an_index_for_several_platforms(registry, archive, daemon, tmp_path):
    """Pulled by the index, whose digest is the image's; pushed is the manifest for this machine, as it was."""
    cli, name = daemon.corten, f"{registry.address}/{repository_name(tmp_path, 'many')}"
    layout = tmp_path / "layout"
    index = json.loads((layout / "index.json").read_text())
    entry = index["manifests"][0]
    entry.pop("annotations", None)
    machine = cli("version", "--format", "{{.Server.Arch}}")
    other = json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
    config = json.loads((layout / "blobs/sha256" / other["config"]["digest"][7:]).read_text())
    config["architecture"] = "s390x"

    def put(document):
        import hashlib

        data = json.dumps(document).encode()
        found = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / found).write_bytes(data)
        return {"digest": f"sha256:{found}", "size": len(data)}

    other["config"].update(put(config))
    strange = {"mediaType": entry["mediaType"], **put(other), "platform": {"os": "linux", "architecture": "s390x"}}
    entry["platform"] = {"os": "linux", "architecture": machine}
    both = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [strange, entry]}
    index["manifests"] = [{"mediaType": both["mediaType"], **put(both), "annotations": {"org.opencontainers.image.ref.name": "1"}}]
    (layout / "index.json").write_text(json.dumps(index))
    skopeo("copy", "-q", "--all", "--dest-tls-verify=false", f"oci:{layout}:1", f"docker://{name}:1")
    cli("pull", "-q", f"{name}:1")
    assert cli("image", "inspect", "-f", "{{index .RepoDigests 0}}", f"{name}:1") == f"{name}@{index['manifests'][0]['digest']}"
    assert cli("run", "--rm", f"{name}:1") == "hello"
    cli("tag", f"{name}:1", f"{name}:here")
    assert entry["digest"] in cli("push", f"{name}:here")
    assert raw(f"{name}:here") == json.loads((layout / "blobs/sha256" / entry["digest"][7:]).read_text())
