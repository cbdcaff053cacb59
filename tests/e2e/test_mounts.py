"""Parts of volumes and images as mounts."""

import pathlib
import socket

import pytest


@pytest.fixture
def volume(daemon):
    """A name; the volume is removed afterwards."""
    name = "parts"
    yield name
    daemon.corten.run("rm", "-f", "part")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(f"DELETE /volumes/{name} HTTP/1.0\r\n\r\n".encode())
        assert b"204" in client.recv(200)


def test_volume_subpath(cli, volume, tmp_path):
    cli("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", "mkdir -p /v/a/b /v/c; echo deep > /v/a/b/f; ln -s /etc /v/out; ln -s ../c /v/a/in; echo c > /v/c/f")

    def run(subpath, *command):
        cli.run("rm", "-f", "part")
        mount = f"type=volume,src={volume},dst=/x,volume-subpath={subpath}"
        return ("run", "--name", "part", "--mount", mount, "busybox", *command)

    assert cli(*run("a/b", "sh", "-c", "cat /x/f; ls /x; echo new > /x/new")).split() == ["deep", "f"]
    # The container's own view when it is stopped.
    cli("cp", "part:/x/new", tmp_path / "new")
    assert (tmp_path / "new").read_text() == "new\n"
    assert cli("run", "--rm", "-v", f"{volume}:/v", "busybox", "cat", "/v/a/b/new") == "new"
    assert cli(*run("a/in", "cat", "/x/f")) == "c"
    assert cli(*run("a/b/f", "cat", "/x")) == "deep"
    assert "no such file or directory" in cli.fails(*run("a/none", "true"))
    assert "escapes the base directory" in cli.fails(*run("out", "ls", "/x"))
    for bad in (f"../{volume}", "/a", "a/../.."):
        assert "subpath must be a relative path within the volume" in cli.fails(*run(bad, "true"))


def test_volume_subpath_needs_a_name(cli):
    assert "anonymous" in cli.fails("create", "--mount", "type=volume,dst=/x,volume-subpath=a", "busybox", "true")


def test_image_mount(cli, tmp_path):
    cli("run", "--name", "maker", "busybox", "sh", "-c", "mkdir -p /data/sub; echo here > /data/sub/f")
    cli("commit", "maker", "data")
    cli("rm", "maker")
    mount = "type=image,src=data,dst=/img"
    assert cli("run", "--rm", "--mount", mount, "busybox", "cat", "/img/data/sub/f") == "here"
    assert "Read-only file system" in cli.fails("run", "--rm", "--mount", mount, "busybox", "touch", "/img/x")
    assert cli("run", "--rm", "--mount", mount + ",image-subpath=data/sub", "busybox", "ls", "/img") == "f"
    assert "no such file" in cli.fails("run", "--rm", "--mount", mount + ",image-subpath=none", "busybox", "true")
    assert "relative path" in cli.fails("run", "--rm", "--mount", mount + ",image-subpath=../x", "busybox", "true")
    assert "No such image: absent" in cli.fails("create", "--mount", "type=image,src=absent,dst=/img", "busybox", "true")
    cli("run", "-d", "--name", "user", "--mount", mount, "busybox", "sleep", "100")
    assert cli("exec", "user", "cat", "/img/data/sub/f") == "here"
    cli("cp", "user:/img/data/sub/f", tmp_path / "f")
    image = cli("images", "-q", "--no-trunc", "data")
    assert "cannot be forced" in cli.fails("rmi", "-f", image)
    assert cli("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.RW}}{{end}}", "user") == "image data false"
    cli("stop", "-t", "0", "user")
    cli("cp", "user:/img/data/sub/f", tmp_path / "again")
    assert pathlib.Path(tmp_path / "again").read_text() == "here\n"
    assert "is using its referenced image" in cli.fails("rmi", "data")
    cli("start", "user")
    assert cli("exec", "user", "cat", "/img/data/sub/f") == "here"
