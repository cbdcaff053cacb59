"""manifest: lists of images for several platforms, made and pushed by either client, seen by both; and registry digests of images."""

import gzip
import json
import re
import urllib.request

import pytest
from archives import digest_of, tar_of

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
TYPES = {
    "docker": ("vnd.docker.distribution.manifest.v2+json", "vnd.docker.container.image.v1+json",
               "vnd.docker.image.rootfs.diff.tar.gzip"),
    "oci": ("vnd.oci.image.manifest.v1+json", "vnd.oci.image.config.v1+json", "vnd.oci.image.layer.v1.tar+gzip"),
}  # fmt: skip


def send(registry, method, url, body=None, **headers):
    url = url if url.startswith("http") else f"{registry.scheme}://{registry.address}{url}"
    return urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=headers), timeout=10)


def put_blob(registry, repository, body):
    with send(registry, "POST", f"/v2/{repository}/blobs/uploads/", b"") as answer:
        place = answer.headers["Location"]
    place += ("&" if "?" in place else "?") + "digest=" + digest_of(body)
    send(registry, "PUT", place, body, **{"Content-Type": "application/octet-stream"}).close()


def put_image(registry, repository, tag, architecture, kind="docker", **platform):
    """A one-file image for a platform; the digest of its manifest."""
    tar = tar_of({f"{architecture}-{tag}": b"abc"})
    layer = gzip.compress(tar, mtime=0)
    config = json.dumps({
        "os": "linux", "architecture": architecture, **platform,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]}, "config": {"Cmd": ["<x>"]},
    }).encode()  # fmt: skip
    for body in (layer, config):
        put_blob(registry, repository, body)
    types = ["application/" + name for name in TYPES[kind]]
    parts = [{"mediaType": kind_of, "size": len(body), "digest": digest_of(body)} for kind_of, body in zip(types[1:], (config, layer))]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": types[0], "config": parts[0], "layers": parts[1:]}).encode()
    send(registry, "PUT", f"/v2/{repository}/manifests/{tag}", manifest, **{"Content-Type": types[0]}).close()
    return digest_of(manifest)


@pytest.fixture
def clients(clients):
    if clients[1] is None:
        pytest.skip("no docker CLI on the PATH")
    return clients


@pytest.fixture
def images(registry, request):
    """Names of images for three platforms, in repositories of their own."""
    base = request.node.name.split("[")[0].replace("_", "-")
    put_image(registry, f"{base}/x86", "1", "amd64")
    put_image(registry, f"{base}/arm", "1", "arm64", variant="v8")
    put_image(registry, f"{base}/oci", "1", "riscv64", "oci")
    put_image(registry, f"{base}/oci", "2", "arm", "oci", variant="v7")
    prefix = f"{registry.address}/{base}"
    return {"prefix": prefix, **{name: f"{prefix}/{name}:1" for name in ("x86", "arm", "oci")}, "oci2": f"{prefix}/oci:2"}


def as_ours(text):
    return re.sub(r"\bdocker\b(?!\.io)", "corten", text)


def same(clients, *line, insecure=True):
    """Both clients print and end the same; what that was. Docker's takes plain http only where it is told to."""
    corten, docker = clients
    words = ["manifest", *line]
    ours = corten.run(*words)
    theirs = docker.run(*words[:2], *(["--insecure"] if insecure else []), *words[2:])
    assert (ours.code, ours.out, ours.err) == (theirs.code, theirs.out, as_ours(theirs.err)), line
    return ours


def test_inspect_prints_the_same(clients, images, registry):
    corten, docker = clients
    for name in (images["x86"], images["oci"], images["prefix"] + "/no:such", "A:1", images["x86"] + "@sha256:12"):
        same(clients, "inspect", name)
        same(clients, "inspect", "-v", name)
    digest = registry.manifest(images["x86"].split("/", 1)[1].rsplit(":", 1)[0], "1")[0]
    same(clients, "inspect", "-v", images["x86"].rsplit(":", 1)[0] + "@" + digest)
    for count, parts in enumerate((["x86", "arm"], ["oci", "oci2"], ["arm", "oci"], ["oci", "x86"])):
        name = f"{images['prefix']}/list:{count}"
        # By turns.
        maker, other = clients if count % 2 else reversed(clients)
        insecure = ["--insecure"]
        maker("manifest", "create", *insecure, name, *(images[part] for part in parts))
        same(clients, "inspect", name)
        same(clients, "inspect", "-v", name)
        same(clients, "inspect", name, images[parts[0]])
        same(clients, "inspect", "-v", name, images[parts[1]])
        same(clients, "inspect", name, "nothing")
        assert other("manifest", "push", *insecure, "--purge", name).splitlines()[-1].startswith("sha256:")
        assert json.loads(corten("manifest", "inspect", name))["mediaType"] == (OCI_INDEX if parts[0] == "oci" else DOCKER_LIST)
        same(clients, "inspect", name)
        same(clients, "inspect", "-v", name)
        same(clients, "create", images["prefix"] + "/other:1", name)


def test_lists_are_one_for_both(clients, images, tmp_path):
    corten, docker = clients
    name = images["prefix"] + "/list:1"
    folder = tmp_path / "config" / "manifests"
    made = []
    for client in (corten, docker):
        client("manifest", "create", "--insecure", name, images["x86"], images["arm"])
        client("manifest", "annotate", name, images["arm"], "--os-features", "a,b", "--os-features", "c", "--variant", "v9",
               "--os-version", "1.<2>", "--os", "windows", "--arch", "amd64")  # fmt: skip
        made.append({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
        pushes = [pusher("manifest", "push", "--insecure", name) for pusher in (corten, docker)]
        assert pushes[0] == pushes[1]
        client("manifest", "rm", name)
        assert not list(folder.iterdir())
    assert made[0] == made[1] and len(made[0]) == 2


def test_errors_are_the_same(clients, images):
    name = images["prefix"] + "/list:1"
    clients[0]("manifest", "create", name, images["x86"])
    for line in [
        f"create {name} {images['x86']}", f"create A {images['x86']}", f"create {name}", "create",
        f"create --amend {name} {images['prefix']}/no:such", "push nothing", "push", "push A", "rm nothing A also:1",
        "annotate a", "annotate A b", f"annotate {name} B", f"annotate {name} b", f"annotate {name} {images['x86']} --os dos",
        f"annotate {name} {images['x86']} --arch arm --bogus", "inspect", "inspect a b c", "inspect -x a", "rm",
    ]:  # fmt: skip
        insecure = line.split()[0] in ("create", "inspect", "push") and len(line.split()) > 1 and "-x" not in line
        same(clients, *line.split(), insecure=insecure)
    assert clients[1]("manifest", "inspect", name), "nothing of this changed the list"


def test_help_is_the_same(clients):
    for command in ("create", "inspect", "annotate", "push", "rm"):
        ours, theirs = (client("manifest", command, "--help") for client in clients)
        # What Docker calls experimental is not an experiment here.
        before, _, after = theirs.partition("EXPERIMENTAL:")
        wanted = before.rstrip() + ("\n\nOptions:" + after.partition("Options:")[2] if "Options:" in after else "")
        assert ours == as_ours(wanted)


def test_push_brings_what_is_elsewhere(clients, images, registry):
    corten = clients[0]
    name = images["prefix"] + "/all:1"
    corten("manifest", "create", name, images["x86"], images["oci2"])
    out = corten("manifest", "push", name).splitlines()
    assert len(out) == 3 and out[0].startswith("Pushed ref " + images["prefix"] + "/all@sha256:")
    for digest in (line.split()[-1] for line in out[:2]):
        manifest = json.loads(send(registry, "GET", f"/v2/{name.split('/', 1)[1][:-2]}/manifests/{digest}", Accept=", ".join(
            "application/" + kinds[0] for kinds in TYPES.values())).read())  # fmt: skip
        for blob in [manifest["config"], *manifest["layers"]]:
            send(registry, "HEAD", f"/v2/{name.split('/', 1)[1][:-2]}/blobs/{blob['digest']}").close()
    # It is what a pull takes its platform's image from.
    corten("pull", "-q", name)
    assert corten("image", "inspect", "-f", "{{.Architecture}}", name) == "amd64"
    assert corten("image", "inspect", "-f", "{{index .RepoDigests 0}}", name) == name[:-2] + "@" + out[2]


def test_behind_a_password(clients, guarded, daemon, tmp_path):
    corten, docker = clients
    daemon.corten("tag", "busybox", f"{guarded.address}/one:1")
    name = f"{guarded.address}/one:1"
    assert "no basic auth credentials" in corten.fails("manifest", "inspect", "--insecure", name, code=1)
    same(clients, "inspect", name)
    corten("login", "-u", "me", "--password-stdin", guarded.address, input="secret")
    corten("push", "-q", name)
    same(clients, "inspect", name)
    same(clients, "inspect", "-v", name)
    # Docker's client pushes by plain http to any registry on loopback, and so cannot push to this one.
    docker("manifest", "create", f"{guarded.address}/all:1", name)
    assert corten("manifest", "push", "-p", f"{guarded.address}/all:1").splitlines()[-1].startswith("sha256:")
    same(clients, "inspect", f"{guarded.address}/all:1", insecure=False)
    assert corten("tags", "-q", f"{guarded.address}/all") == "1"
    corten("logout", guarded.address)
    assert "no basic auth credentials" in docker.fails("manifest", "inspect", "--insecure", name, code=1)
    assert "denied" in corten.fails("tags", f"{guarded.address}/all") or "no basic auth" in corten.fails("tags", f"{guarded.address}/all")


def test_digests_of_images(registry, pushed, daemon):
    """Pulled and pushed, by tag and by digest: what `image inspect` and `images --digests` say, in either client."""
    corten = daemon.corten
    name = f"{registry.address}/{pushed}"
    digest = registry.manifest(pushed, "1")[0]

    def shown(reference):
        lists = [client("images", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}", name)
                 for client in (corten, daemon.docker or corten)]  # fmt: skip
        assert lists[0] == lists[1]
        return corten.json("image", "inspect", "-f", "{{json .RepoDigests}}", reference), lists[0].splitlines()

    corten("pull", "-q", f"{name}@{digest}")
    assert shown(f"{name}@{digest}") == ([f"{name}@{digest}"], [f"{name}:<none>@{digest}"])
    corten("pull", "-q", f"{name}:1")
    assert shown(f"{name}:1") == ([f"{name}@{digest}"], [f"{name}:1@{digest}"])
    corten("tag", f"{name}:1", f"{name}/copy:2")
    corten("push", "-q", f"{name}/copy:2")
    assert registry.manifest(f"{pushed}/copy", "2")[0] == digest
    assert sorted(shown(f"{name}:1")[0]) == sorted([f"{name}@{digest}", f"{name}/copy@{digest}"])
    # An image of our own has a digest once it is pushed.
    corten("tag", "busybox", f"{name}/own:1")
    assert f"{name}/own" not in str(corten.json("image", "inspect", "-f", "{{json .RepoDigests}}", "busybox"))
    corten("push", "-q", f"{name}/own:1")
    own = registry.manifest(f"{pushed}/own", "1")[0]
    assert f"{name}/own@{own}" in corten.json("image", "inspect", "-f", "{{json .RepoDigests}}", "busybox")
    corten("rmi", f"{name}/own:1")
    assert f"{name}/own" not in str(corten.json("image", "inspect", "-f", "{{json .RepoDigests}}", "busybox"))
