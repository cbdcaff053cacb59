"""Image archives between us and others: a real Docker daemon, skopeo and podman read what we save, and we what they write."""

import hashlib
import io
import json
import os
import pathlib
import pty
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time

import pytest
from conftest import SLOWNESS
from dockerd import run_docker

# --- archives made here, from layers given as lists of entries


def entry(name, content=b"", mode=0o644, kind=tarfile.REGTYPE, link="", uid=0, xattrs=None):
    item = tarfile.TarInfo(name)
    item.type, item.mode, item.uid, item.gid, item.linkname, item.mtime = kind, mode, uid, uid, link, 1_700_000_000
    item.size = len(content)
    if xattrs:
        item.pax_headers = {f"SCHILY.xattr.{key}": value for key, value in xattrs.items()}
    return item, content


def folder(name, mode=0o755):
    return entry(name, mode=mode, kind=tarfile.DIRTYPE)


def tar_of(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for item, content in entries:
            archive.addfile(item, io.BytesIO(content))
    return out.getvalue()


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Image:
    """An image of `layers` (tars, bottom first)."""

    def __init__(self, layers, *names, architecture="amd64"):
        self.layers, self.names = layers, names
        config = {
            "architecture": architecture,
            "os": "linux",
            "created": "2023-11-14T22:13:20Z",
            "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + sha(layer) for layer in layers]},
            "history": [{"created": "2023-11-14T22:13:20Z", "created_by": f"layer {n}"} for n in range(len(layers))],
        }
        self.config = json.dumps(config).encode()
        self.id = "sha256:" + sha(self.config)


def docker_archive(*images, names_first=False):
    """As `docker save` of version 20.10 lays it out, without its files for older ones."""
    files, seen = [], set()
    manifest = []
    for image in images:
        for layer in image.layers:
            if sha(layer) not in seen:
                files.append((f"{sha(layer)}/layer.tar", layer))
            seen.add(sha(layer))
        files.append((f"{image.id[7:]}.json", image.config))
        manifest.append(
            {
                "Config": f"{image.id[7:]}.json",
                "RepoTags": list(image.names) or None,
                "Layers": [f"{sha(layer)}/layer.tar" for layer in image.layers],
            }
        )
    text = ("manifest.json", json.dumps(manifest).encode())
    files = [text, *files] if names_first else [*files, text]
    return tar_of([entry(name, content) for name, content in files])


def special_layers(busybox):
    """What a layer can do to those below, and kinds of files."""
    capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".decode("latin-1")
    second = [
        folder("data"),
        folder("data/gone"),
        entry("data/gone/file", b"never seen"),
        entry("data/removed", b"never seen either"),
        folder("data/emptied"),
        entry("data/emptied/old", b"hidden"),
        entry("data/one", b"linked" * 1000, mode=0o4755),
        entry("data/two", mode=0o4755, kind=tarfile.LNKTYPE, link="data/one"),
        entry("data/three", mode=0o4755, kind=tarfile.LNKTYPE, link="data/one"),
        entry("data/link", kind=tarfile.SYMTYPE, link="../bin/busybox"),
        entry("data/pipe", kind=tarfile.FIFOTYPE),
        entry("data/owned", b"alice's", mode=0o640, uid=1000),
        entry("data/ping", b"#!/bin/sh\n", mode=0o755, xattrs={"security.capability": capability}),
        entry("data/named", b"x", xattrs={"user.colour": "blue"}),
        entry("data/" + "n" * 150, b"a name that needs an extended header"),
        entry("data/caf\u00e9", b"not ASCII"),
    ]
    third = [
        folder("data"),
        entry("data/.wh.gone"),
        entry("data/.wh.removed"),
        folder("data/emptied", mode=0o700),
        entry("data/emptied/.wh..wh..opq"),
        entry("data/emptied/new", b"seen"),
        folder("data/gone-too"),
    ]
    fourth = [folder("data"), entry("data/link", b"a file in the place of a link")]
    return [busybox, tar_of(second), tar_of(third), tar_of([]), tar_of(fourth)]


# --- a real Docker daemon


@pytest.fixture(scope="module")
def peer():
    """The docker CLI on a dockerd of its own."""
    for docker in run_docker():
        yield docker.cli


@pytest.fixture
def clean_peer(peer):
    yield peer
    ids = peer.run("images", "-aq").out.split()
    if ids:
        peer.run("rmi", "-f", *set(ids))


@pytest.fixture(scope="session")
def busybox(busybox_tar):
    return busybox_tar.read_bytes()


# --- comparing


# The engines put these there, each in its own way.
NOT_THE_IMAGES = {"dev", "proc", "sys", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "run"}


def tree(cli, image):
    """What a container of the image sees: path to what there is to know of it."""
    name = cli("run", "-d", "--network=none", image, "sleep", "1000").split()[-1]
    try:
        root = f"/proc/{cli('inspect', '-f', '{{.State.Pid}}', name)}/root"
        seen, links = {}, {}
        for place, folders, files in os.walk(root):
            folders[:] = [f for f in folders if os.path.relpath(os.path.join(place, f), root) not in NOT_THE_IMAGES]
            for item in [*folders, *files]:
                path = os.path.join(place, item)
                short = os.path.relpath(path, root)
                if short in NOT_THE_IMAGES:
                    continue
                info = os.lstat(path)
                kind = stat.S_IFMT(info.st_mode)
                what = [oct(info.st_mode), info.st_uid, info.st_gid]
                if kind == stat.S_IFLNK:
                    what.append(os.readlink(path))
                if kind == stat.S_IFREG:
                    links.setdefault((info.st_dev, info.st_ino), []).append(short)
                    what += [info.st_size, int(info.st_mtime), info.st_nlink, sha(pathlib.Path(path).read_bytes())]
                    what += [(key, os.getxattr(path, key)) for key in sorted(os.listxattr(path))]
                seen[short] = what
        seen["hard links"] = sorted(sorted(names) for names in links.values() if len(names) > 1)
        return seen
    finally:
        cli("rm", "-f", name)


def ids(cli):
    lines = cli("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    return {name: image for name, image in (line.split() for line in lines) if not name.startswith("<none>")}


def kinds(busybox):
    thirty = [busybox] + [tar_of([folder("d"), entry(f"d/{n}", str(n).encode())]) for n in range(29)]
    return {
        "single": [Image([busybox], "interop/single:1")],
        "many": [
            Image([busybox], "interop/a:1", "interop/a:2"),
            Image([busybox, tar_of([entry("b", b"b")])], "interop/b:1"),
            Image([busybox, tar_of([entry("b", b"b")]), tar_of([entry("c", b"c")])], "interop/c:1", "other/c:x"),
        ],
        "thirty": [Image(thirty, "interop/thirty:1")],
        "special": [Image(special_layers(busybox), "interop/special:1")],
    }


@pytest.mark.parametrize("kind", ["single", "many", "thirty", "special"])
def test_docker_loads_what_we_save(kind, corten, clean_peer, busybox, tmp_path):
    images = kinds(busybox)[kind]
    corten("load", input=docker_archive(*images), text=False)
    names = [name for image in images for name in image.names]
    archive = tmp_path / "ours.tar"
    corten("save", "-o", archive, *names)
    said = clean_peer("load", "-i", archive)
    assert sorted(said.splitlines()) == sorted(f"Loaded image: {name}" for name in names)
    assert ids(clean_peer) == {name: image.id for image in images for name in image.names}
    for image in images:
        assert tree(clean_peer, image.names[0]) == tree(corten, image.names[0])


@pytest.mark.parametrize("kind", ["single", "many", "thirty", "special"])
def test_we_load_what_docker_saves(kind, corten, clean_peer, busybox, tmp_path):
    images = kinds(busybox)[kind]
    clean_peer("load", input=docker_archive(*images), text=False)
    names = [name for image in images for name in image.names]
    archive = tmp_path / "docker.tar"
    clean_peer("save", "-o", archive, *names)
    said = corten("load", "-i", archive)
    assert sorted(said.splitlines()) == sorted(f"Loaded image: {name}" for name in names)
    ours = ids(corten)
    assert {name: ours[name] for name in names} == {name: image.id for image in images for name in image.names}
    for image in images:
        assert tree(corten, image.names[0]) == tree(clean_peer, image.names[0])


def test_the_way_there_and_back_changes_nothing(corten, clean_peer, busybox, tmp_path):
    """Each engine's archive through the other one, and ours twice: the same bytes."""
    image = kinds(busybox)["special"][0]
    corten("load", input=docker_archive(image), text=False)
    corten("save", "-o", tmp_path / "1.tar", image.names[0])
    clean_peer("load", "-i", tmp_path / "1.tar")
    clean_peer("save", "-o", tmp_path / "2.tar", image.names[0])
    corten("rmi", image.names[0])
    corten("load", "-i", tmp_path / "2.tar")
    corten("save", "-o", tmp_path / "3.tar", image.names[0])
    assert sha((tmp_path / "1.tar").read_bytes()) == sha((tmp_path / "3.tar").read_bytes())


# --- skopeo and podman

needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")


def skopeo(*arguments):
    subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", *map(str, arguments)], check=True, timeout=120)


def manifest_digest(folder_path):
    return "sha256:" + sha((pathlib.Path(folder_path) / "manifest.json").read_bytes())


@needs_skopeo
def test_skopeo_reads_both_layouts(corten, busybox, tmp_path):
    image = kinds(busybox)["special"][0]
    corten("load", input=docker_archive(image), text=False)
    corten("save", "-o", tmp_path / "ours.tar", image.names[0])
    with tarfile.open(tmp_path / "ours.tar") as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json"))
    assert names[:3] == ["oci-layout", "index.json", "manifest.json"]  # whoever reads on knows what comes
    skopeo(f"oci-archive:{tmp_path}/ours.tar", f"dir:{tmp_path}/oci")
    assert manifest_digest(tmp_path / "oci") == index["manifests"][0]["digest"]
    skopeo(f"docker-archive:{tmp_path}/ours.tar", f"dir:{tmp_path}/docker")
    for place in ("oci", "docker"):
        manifest = json.loads((tmp_path / place / "manifest.json").read_text())
        assert manifest["config"]["digest"] == image.id
        assert len(manifest["layers"]) == len(image.layers)


@needs_skopeo
def test_we_read_what_skopeo_writes(corten, busybox, tmp_path):
    image = kinds(busybox)["special"][0]
    (tmp_path / "made.tar").write_bytes(docker_archive(image))
    skopeo(f"docker-archive:{tmp_path}/made.tar", f"oci-archive:{tmp_path}/oci.tar:x/oci:1")
    skopeo(f"docker-archive:{tmp_path}/made.tar", f"docker-archive:{tmp_path}/docker.tar:x/docker:1")
    assert corten("load", "-i", tmp_path / "docker.tar") == "Loaded image: x/docker:1"
    assert corten("load", "-i", tmp_path / "oci.tar") == "Loaded image: x/oci:1"
    found = ids(corten)
    assert found["x/docker:1"] == image.id  # for an OCI layout skopeo writes another config
    assert tree(corten, "x/docker:1") == tree(corten, "x/oci:1")
    # An OCI layout's manifest stays what it is, also where it comes first.
    corten("rmi", "x/docker:1", "x/oci:1")
    corten("load", "-i", tmp_path / "oci.tar")
    corten("save", "-o", tmp_path / "again.tar", "x/oci:1")
    skopeo(f"oci-archive:{tmp_path}/oci.tar", f"dir:{tmp_path}/before")
    skopeo(f"oci-archive:{tmp_path}/again.tar", f"dir:{tmp_path}/after")
    assert manifest_digest(tmp_path / "before") == manifest_digest(tmp_path / "after")


@needs_skopeo
def test_an_oci_layout_of_plain_tars_keeps_its_digests(corten, busybox, tmp_path):
    image = Image([busybox, tar_of([entry("b", b"b")])], "x/plain:1")
    blobs = [*image.layers, image.config]
    describe = lambda data, kind: {"mediaType": kind, "digest": "sha256:" + sha(data), "size": len(data)}  # noqa: E731
    layer = "application/vnd.oci.image.layer.v1.tar"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe(image.config, "application/vnd.oci.image.config.v1+json"),
            "layers": [describe(data, layer) for data in image.layers],
        }
    ).encode()
    top = describe(manifest, "application/vnd.oci.image.manifest.v1+json")
    top["annotations"] = {"io.containerd.image.name": "docker.io/x/plain:1"}
    files = [entry(f"blobs/sha256/{sha(data)}", data) for data in [*blobs, manifest]]
    index = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    corten(
        "load",
        input=tar_of([*files, entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), entry("index.json", index)]),
        text=False,
    )
    corten("save", "-o", tmp_path / "out.tar", "x/plain:1")
    skopeo(f"oci-archive:{tmp_path}/out.tar", f"dir:{tmp_path}/out")
    assert manifest_digest(tmp_path / "out") == "sha256:" + sha(manifest)
    assert corten("run", "--rm", "--network=none", "x/plain:1", "cat", "/b") == "b"


@pytest.mark.skipif(shutil.which("podman") is None, reason="needs podman")
def test_podman_loads_what_we_save(corten, busybox, tmp_path):
    image = kinds(busybox)["special"][0]
    corten("load", input=docker_archive(image), text=False)
    corten("save", "-o", tmp_path / "ours.tar", image.names[0])
    base = tempfile.mkdtemp(prefix="pm-", dir="/tmp")  # podman wants short paths
    podman = ["podman", "--root", f"{base}/root", "--runroot", f"{base}/run", "--storage-driver", "vfs"]
    try:
        loaded = subprocess.run(
            [*podman, "load", "-q", "-i", tmp_path / "ours.tar"], capture_output=True, text=True, timeout=120
        )
        assert loaded.returncode == 0, loaded.stderr
        told = subprocess.run(
            [*podman, "images", "--no-trunc", "-q"], check=True, capture_output=True, text=True, timeout=60
        ).stdout
        assert told.split()[0].removeprefix("sha256:") == image.id[7:]
        subprocess.run(
            [*podman, "save", "-q", "-o", tmp_path / "podman.tar", image.names[0]], check=True, capture_output=True
        )
    finally:
        subprocess.run([*podman, "rmi", "-af"], capture_output=True)
        shutil.rmtree(base, ignore_errors=True)
    corten("rmi", image.names[0])
    corten("load", "-i", tmp_path / "podman.tar")
    assert image.id in ids(corten).values()


# --- how archives come and go


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_compressed_archives(program, cli, busybox, tmp_path):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    image = Image([busybox], f"interop/{program}:1")
    packed = subprocess.run([program, "-c"], input=docker_archive(image), capture_output=True, check=True).stdout
    (tmp_path / "packed").write_bytes(packed)
    assert f"Loaded image: interop/{program}:1" in cli("load", "-i", tmp_path / "packed")
    cli("rmi", f"interop/{program}:1")
    assert b"Loaded image: interop" in cli("load", input=packed, text=False)
    with open(tmp_path / "packed", "rb") as file:
        subprocess.run(cli.argv("load", "-q"), stdin=file, env=cli.environment, check=True, capture_output=True)
    assert ids(cli)[f"interop/{program}:1"] == image.id


@pytest.mark.parametrize("names_first", [True, False])
def test_the_order_of_an_archive_does_not_matter(names_first, corten, busybox):
    images = kinds(busybox)["many"]
    corten("load", input=docker_archive(*images, names_first=names_first), text=False)
    found = ids(corten)
    assert all(found[name] == image.id for image in images for name in image.names)


def test_only_compressed_layers_are_kept(make_daemon, tmp_path):
    daemon = make_daemon(image=False)
    text = b"".join(b"a line that compresses well, number %d\n" % n for n in range(200_000))
    image = Image([tar_of([entry("text", text)])], "interop/text:1")
    daemon.corten("load", input=docker_archive(image), text=False)
    blobs = sum(path.stat().st_size for path in (daemon.data_root / "content").rglob("*") if path.is_file())
    assert blobs < len(text) / 3
    assert not any((daemon.data_root / "content" / "ingest").iterdir())


def on_a_terminal(cli, *arguments):
    """What the command shows there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        cli.argv(*arguments),
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env={**cli.environment, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert process.wait(60) == 0
    return text.decode()


def test_progress_on_a_terminal_and_quiet(cli, busybox, tmp_path):
    image = Image([busybox, tar_of([entry("big", os.urandom(1 << 20) * 40)])], "interop/term:1")
    (tmp_path / "a.tar").write_bytes(docker_archive(image))
    shown = on_a_terminal(cli, "load", "-i", tmp_path / "a.tar")
    assert f"{sha(image.layers[0])[:12]}: Loading layer" in shown
    assert "Loaded image: interop/term:1" in shown
    quiet = on_a_terminal(cli, "load", "-q", "-i", tmp_path / "a.tar")
    assert "Loaded image: interop/term:1" in quiet
    assert "Loading" not in quiet


@pytest.mark.skipif(SLOWNESS > 1, reason="sanitizers keep memory back")
def test_loading_takes_little_memory(make_daemon, tmp_path):
    """One layer of 300 MB, then twenty of 10 MB: the daemon's peak stays far below their size."""
    daemon = make_daemon(image=False)
    block = b"".join(b"%d is a number and this is some text\n" % n for n in range(30_000)) + os.urandom(1 << 20)
    copies = (300 << 20) // len(block)
    layers = [tar_of([entry(f"big/{n}", block) for n in range(copies)])]
    layers += [tar_of([entry(f"small/{n}", block * 5)]) for n in range(20)]
    (tmp_path / "a.tar").write_bytes(docker_archive(Image(layers, "interop/memory:1")))
    daemon.corten("load", "-i", tmp_path / "a.tar")
    daemon.corten("save", "-o", tmp_path / "b.tar", "interop/memory:1")
    daemon.corten("rmi", "interop/memory:1")
    daemon.corten("load", "-i", tmp_path / "b.tar")
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    assert peak < 100 << 10, f"{peak >> 10} MiB"


def test_platforms(cli, busybox, tmp_path):
    here = Image([busybox], "interop/here:1")
    there = Image([busybox], "interop/there:1", architecture="arm64")
    both = tmp_path / "both.tar"
    both.write_bytes(docker_archive(here, there))
    assert cli("load", "-i", both, "--platform", "linux/arm64").splitlines() == ["Loaded image: interop/there:1"]
    assert "interop/here:1" not in ids(cli)
    assert "no image for linux/s390x" in cli.fails("load", "-i", both, "--platform", "linux/s390x")
    cli("load", "-i", both, "--platform", "linux/amd64")
    cli("save", "-o", tmp_path / "one.tar", "--platform", "linux/amd64", "interop/here:1")
    assert "does not provide the specified platform (linux/amd64)" in cli.fails(
        "save", "-o", tmp_path / "two.tar", "--platform", "linux/amd64", "interop/there:1"
    )
    assert not (tmp_path / "two.tar").exists()
    assert "invalid" in cli.fails("load", "-i", both, "--platform", "linux/a/b/c/d").lower()


def test_events(cli, busybox, tmp_path):
    image = Image([busybox], "interop/event:1", "interop/event:2")
    (tmp_path / "a.tar").write_bytes(docker_archive(image))
    since = time.time()
    cli("load", "-i", tmp_path / "a.tar")
    cli("save", "-o", tmp_path / "b.tar", "interop/event:1")
    seen = cli(
        "events", "--since", since, "--until", time.time() + 0.01, "--filter", "type=image",
        "--format", "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}",
    )  # fmt: skip
    assert seen.splitlines() == [f"{action} {image.id} {image.id}" for action in ("load", "save")]


def test_save_to_standard_output_is_the_same(corten, busybox, tmp_path):
    corten("load", input=docker_archive(Image([busybox], "interop/out:1")), text=False)
    corten("save", "-o", tmp_path / "file.tar", "interop/out:1")
    assert sha(corten("save", "interop/out:1", text=False)) == sha((tmp_path / "file.tar").read_bytes())


def test_a_refusal_comes_through_while_the_archive_is_still_being_sent(cli, tmp_path):
    with open(tmp_path / "no.tar", "wb") as file:
        file.write(b"this is no archive\n" * 100)
        file.truncate(100 << 20)
    assert "not a tar archive" in cli.fails("load", "-i", tmp_path / "no.tar", code=1)
    with open(tmp_path / "no.tar", "rb") as file:
        refused = subprocess.run(cli.argv("load"), stdin=file, env=cli.environment, capture_output=True, text=True)
    assert refused.returncode == 1 and "not a tar archive" in refused.stderr
