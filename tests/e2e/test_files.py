"""cp, diff, export, commit, import, save, load and the images' commands."""

import io
import json
import os
import subprocess
import tarfile

import pytest

from conftest import wait_until


def test_cp_both_ways(cli, tmp_path):
    cli("run", "-d", "--name", "ccc", "busybox", "sleep", "100")
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/sub/file").write_text("content")
    (tmp_path / "dir/link").symlink_to("sub/file")
    cli("cp", tmp_path / "dir", "ccc:/into")
    assert cli("exec", "ccc", "cat", "/into/sub/file") == "content"
    assert cli("exec", "ccc", "readlink", "/into/link") == "sub/file"
    cli("cp", f"{tmp_path}/dir/.", "ccc:/tmp")
    assert cli("exec", "ccc", "cat", "/tmp/sub/file") == "content"
    cli("cp", "ccc:/into/sub/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content"
    cli("stop", "-t", "0", "ccc")
    cli("cp", "ccc:/into/.", tmp_path / "stopped")
    assert (tmp_path / "stopped/sub/file").read_text() == "content"
    assert "Could not find the file /absent in container c" in cli.fails("cp", "ccc:/absent", tmp_path)


def test_cp_keeps_or_sets_owners(cli, tmp_path):
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 7, 8)
    cli("run", "-d", "--name", "rooted", "busybox", "sleep", "100")
    cli("run", "-d", "--name", "owned", "-u", "1000:50", "busybox", "sleep", "100")
    for name, flags, owner in (("rooted", [], "7:8"), ("rooted", ["-a"], "7:8"), ("owned", [], "7:8"), ("owned", ["-a"], "1000:50")):
        cli("cp", *flags, str(tmp_path / "file"), f"{name}:/tmp/f")
        assert cli("exec", "-u", "0", name, "stat", "-c", "%u:%g", "/tmp/f") == owner, (name, flags)
        cli("exec", "-u", "0", name, "rm", "/tmp/f")
    cli("rm", "-f", "rooted", "owned")


def test_cp_through_streams(cli, tmp_path):
    cli("create", "--name", "ccc", "busybox", "true")
    archive = cli("cp", "ccc:/etc/passwd", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["passwd"]
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("streamed")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"ok"))
    cli("cp", "-", "ccc:/tmp", input=data.getvalue(), text=False)
    cli("cp", "ccc:/tmp/streamed", tmp_path / "streamed")
    assert (tmp_path / "streamed").read_text() == "ok"


def hostile_tar(entries):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, value in entries:
            info = tarfile.TarInfo(name)
            if kind == "file":
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
            else:
                info.type = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE}[kind]
                info.linkname = value or ""
                tar.addfile(info)
    return data.getvalue()


@pytest.mark.parametrize(
    "entries",
    [
        [("../../../../../../{target}", "file", b"x")],
        [("/{target}", "file", b"x")],
        [("link", "symlink", "/"), ("link/{target}", "file", b"x")],
        [("link", "symlink", "../../../../../.."), ("link/{target}", "file", b"x")],
        [("hard", "hardlink", "/../../../../etc/hostname"), ("hard", "file", b"x")],
    ],
)
def test_cp_stays_inside(daemon, tmp_path, entries):
    """Archives that try to write outside the container's root must not touch the host."""
    cli = daemon.corten
    cli("create", "--name", "ccc", "busybox", "true")
    target = str(tmp_path / "escaped").lstrip("/")
    os.makedirs(tmp_path, exist_ok=True)
    hostname = open("/etc/hostname").read() if os.path.exists("/etc/hostname") else None
    data = hostile_tar([(name.format(target=target), kind, value) for name, kind, value in entries])
    cli.run("cp", "-", "ccc:/tmp", input=data, text=False)
    assert not (tmp_path / "escaped").exists()
    assert hostname is None or open("/etc/hostname").read() == hostname


def test_cp_through_a_containers_symlink(daemon, tmp_path):
    cli = daemon.corten
    (tmp_path / "secret").write_text("host")
    cli("run", "--name", "ccc", "busybox", "sh", "-c", f"ln -s {tmp_path} /way; ln -s {tmp_path}/secret /file; ln -s /var/run2 /abs; mkdir /var/run2")
    cli.fails("cp", "ccc:/way/secret", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    (tmp_path / "new").write_text("new")
    cli.run("cp", tmp_path / "new", "ccc:/way/planted")
    assert not (tmp_path / "planted").exists()
    # Absolute links that stay inside must go on working (as /var/run does).
    cli("cp", tmp_path / "new", "ccc:/abs/new")
    assert cli("cp", "ccc:/var/run2/new", "-", text=False)


def test_deep_trees(daemon, tmp_path):
    """A container nests directories deeper than a thread of the daemon has stack: nobody else may notice."""
    cli = daemon.corten
    snapshots = daemon.data_root / "snapshots"
    before = set(os.listdir(snapshots))
    cli("run", "--name", "deep", "busybox", "sh", "-c", "i=0; while [ $i -lt 850 ]; do mkdir d && cd d || exit 3; i=$((i+1)); done; echo x > f")
    assert len(cli("diff", "deep").splitlines()) == 851
    cli("export", "-o", tmp_path / "out.tar", "deep")
    assert b"d/d/d/d" in cli("cp", "deep:/d", "-", text=False)
    assert "deep" in cli("ps", "-as")
    assert "at most 256 are taken" in cli.fails("commit", "deep", "deepimage")
    # Deeper than anything walks: an error, and it can still be removed.
    cli("run", "--name", "deeper", "busybox", "sh", "-c", "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 3; i=$((i+1)); done")
    assert "nested deeper than 900" in cli.fails("diff", "deeper")
    cli.fails("export", "-o", tmp_path / "out2.tar", "deeper")
    cli.fails("commit", "deeper", "x")
    cli("rm", "deep", "deeper")
    wait_until(lambda: set(os.listdir(snapshots)) <= before, 20, "the deep trees to be gone")


def test_diff(cli):
    cli("run", "--name", "ddd", "busybox", "sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd; mkdir /dir; touch /dir/f")
    assert set(cli("diff", "ddd").splitlines()) == {"A /new", "C /etc", "D /etc/group", "C /etc/passwd", "A /dir", "A /dir/f"}
    cli("create", "--name", "fresh", "busybox", "true")
    assert cli("diff", "fresh") == ""


def test_commit_and_run(cli):
    cli("run", "--name", "base", "busybox", "sh", "-c", "echo data > /file; rm /etc/group")
    identity = cli("commit", "-m", "message", "-a", "me", "-c", 'CMD ["cat", "/file"]', "-c", "ENV X=1", "-c", "EXPOSE 81", "base", "made:v1")
    assert identity.startswith("sha256:")
    assert cli("run", "--rm", "made:v1") == "data"
    assert cli.run("run", "--rm", "made:v1", "cat", "/etc/group").code == 1
    image = cli.json("image", "inspect", "made:v1")[0]
    assert image["Id"] == identity and image["Author"] == "me" and image["Comment"] == "message"
    assert "X=1" in image["Config"]["Env"] and image["Config"]["ExposedPorts"] == {"81/tcp": {}}
    assert len(image["RootFS"]["Layers"]) == 2
    history = cli("history", "--format", "{{.Comment}}", "made:v1").splitlines()
    assert history[0] == "message"
    assert "not a valid change command" in cli.fails("commit", "-c", "FROM x", "base", "bad")
    assert "unable to remove repository reference" in cli.fails("rmi", "busybox")
    cli("rm", "base")
    cli("rmi", "made:v1")
    assert "No such image: made:v1" in cli.fails("image", "inspect", "made:v1")


def test_export_and_import(cli, tmp_path):
    cli("run", "--name", "eee", "busybox", "sh", "-c", "echo text > /file")
    cli("export", "-o", tmp_path / "out.tar", "eee")
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert "file" in {name.removeprefix("./") for name in tar.getnames()}
    subprocess.run(["gzip", "-k", tmp_path / "out.tar"], check=True)
    identity = cli("import", "-m", "why", "-c", 'CMD ["cat","/file"]', tmp_path / "out.tar.gz", "imported:x")
    assert identity.startswith("sha256:")
    assert cli("run", "--rm", "imported:x") == "text"
    cli("rmi", "imported:x")


def test_save_and_load(cli, tmp_path):
    cli("tag", "busybox", "other:tag")
    before = cli("image", "inspect", "-f", "{{.Id}}", "busybox")
    cli("save", "-o", tmp_path / "saved.tar", "busybox", "other:tag")
    with tarfile.open(tmp_path / "saved.tar") as tar:
        names = set(tar.getnames())
        manifest = json.load(tar.extractfile("manifest.json"))
    assert {"index.json", "oci-layout", "manifest.json"} <= names
    assert {tag for image in manifest for tag in image["RepoTags"]} == {"busybox:latest", "other:tag"}
    cli("rmi", "other:tag")
    assert "Loaded image: other:tag" in cli("load", "-i", tmp_path / "saved.tar")
    assert cli("image", "inspect", "-f", "{{.Id}}", "other:tag") == before
    for program in (["gzip", "-c"], ["zstd", "-q", "-c"]):
        try:
            packed = subprocess.run([*program, tmp_path / "saved.tar"], capture_output=True, check=True).stdout
        except FileNotFoundError:
            continue
        assert "Loaded image" in cli("load", input=packed, text=False).decode()
    cli("rmi", "other:tag")


def test_save_is_reproducible(daemon, tmp_path):
    daemon.corten("save", "-o", tmp_path / "a.tar", "busybox")
    daemon.corten("save", "-o", tmp_path / "b.tar", "busybox")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_skopeo_reads_what_we_save(daemon, tmp_path):
    skopeo = "/usr/bin/skopeo"
    if not os.path.exists(skopeo):
        pytest.skip("needs skopeo")
    daemon.corten("save", "-o", tmp_path / "saved.tar", "busybox")
    for scheme in ("docker-archive", "oci-archive"):
        subprocess.run([skopeo, "--insecure-policy", "copy", "-q", f"{scheme}:{tmp_path}/saved.tar", f"dir:{tmp_path}/{scheme}"], check=True)
        subprocess.run([skopeo, "--insecure-policy", "copy", "-q", f"dir:{tmp_path}/{scheme}", f"oci-archive:{tmp_path}/{scheme}.tar:from-skopeo:{scheme}"], check=True)
        assert "Loaded image" in daemon.corten("load", "-i", tmp_path / f"{scheme}.tar")


def test_bad_archives(daemon, busybox_tar, tmp_path):
    cli = daemon.corten
    count = cli("images", "-aq")
    data = busybox_tar.read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"this is no archive" * 100,
        "truncated": data[: len(data) // 2],
        "half-gzip": subprocess.run(["gzip", "-c"], input=data, capture_output=True).stdout[:5000],
        "escape": hostile_tar([("../../../../tmp/corten-escape", "file", b"x")]),
        "no-manifest": hostile_tar([("something", "file", b"x")]),
        "bad-manifest": hostile_tar([("manifest.json", "file", b"[{")]),
        "lying-manifest": hostile_tar([("manifest.json", "file", b'[{"Config":"../../etc/passwd","RepoTags":["x:y"],"Layers":["a"]}]')]),
    }.items():
        (tmp_path / name).write_bytes(content)
        error = cli.fails("load", "-i", tmp_path / name)
        assert error and "\n" not in error.strip(), (name, error)
        if name in ("text", "truncated", "half-gzip"):
            cli.fails("import", tmp_path / name, f"bad:{name}")
    assert cli("images", "-aq") == count
    assert not os.path.exists("/tmp/corten-escape")


def test_images_and_rmi(cli):
    cli("tag", "busybox", "repo/name:one")
    cli("tag", "busybox", "repo/name:two")
    listing = cli("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {"busybox:latest", "repo/name:one", "repo/name:two"} <= set(listing)
    assert cli("images", "-q", "repo/name:one") == cli("images", "-q", "busybox")
    assert sorted(cli("images", "--filter", "reference=repo/*", "--format", "{{.Tag}}").split()) == ["one", "two"]
    assert "Untagged: repo/name:one" in cli("rmi", "repo/name:one")
    assert "must be forced" in cli.fails("rmi", cli("images", "-q", "busybox").split()[0])
    cli("rmi", "repo/name:two")
    cli.fails("tag", "busybox", "UPPER:case")
    cli.fails("tag", "no-such-image", "x:y")
    assert "No such image: no-such:latest" in cli.fails("rmi", "no-such")


def test_image_in_use(cli):
    cli("create", "--name", "user", "busybox", "true")
    error = cli.fails("rmi", "busybox")
    assert "unable to remove repository reference" in error or "conflict" in error


def test_dangling_and_prune(cli):
    cli("run", "--name", "ppp", "busybox", "touch", "/x")
    cli("commit", "ppp", "prune:me")
    cli("run", "--name", "qqq", "prune:me", "touch", "/y")
    cli("rm", "qqq")
    cli("tag", "busybox", "prune:me")
    assert len(cli("images", "-q", "--filter", "dangling=true").split()) == 1
    assert "Total reclaimed space" in cli("image", "prune", "-f")
    assert cli("images", "-q", "--filter", "dangling=true") == ""
    cli("rmi", "prune:me")
