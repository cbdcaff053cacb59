"""system check: damage in the store is found, said, and repaired from the registry the image came from."""

import io
import json
import os
import pathlib
import tarfile

import pytest
from conftest import Failed, layer_files


def flip(path):
    """One bit in the middle of a file."""
    with open(path, "r+b") as file:
        at = path.stat().st_size // 2
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
        os.fsync(file.fileno())


def blob(daemon, digest):
    return daemon.data_root / "content/sha256" / digest.split(":")[1]


def test_damage_is_found_and_repaired(registry, pushed, daemon):
    cli, name = daemon.corten, f"{registry.address}/{pushed}:1"
    cli("pull", "-q", name)
    assert "0 damaged" in cli("system", "check")
    digest, manifest = registry.manifest(pushed, "1")
    flip(blob(daemon, manifest["layers"][1]["digest"]))
    os.truncate(blob(daemon, digest), 100)
    found = cli.run("system", "check")
    assert found.code == 1
    assert f"damaged layer blob {manifest['layers'][1]['digest']} ({name})" in found.out
    assert f"damaged manifest {digest} ({name})" in found.out
    assert "2 damaged, 0 repaired" in found.out and "corten system check --repair" in found.out
    repaired = cli("system", "check", "--repair")
    assert "2 damaged, 2 repaired" in repaired
    report = json.loads(cli("system", "check", "--format", "json"))
    assert report["Damages"] == [] and report["Layers"] >= 2
    assert cli("system", "check", "-q") == ""
    assert cli("run", "--rm", name, "cat", "/second") == "second"
    cli("rmi", name)


def test_a_damaged_layer_is_made_again(registry, pushed, daemon):
    cli, name = daemon.corten, f"{registry.address}/{pushed}:1"
    before = set(layer_files(daemon))
    cli("pull", "-q", name)
    made = [path for path in layer_files(daemon) if path not in before]
    if not made:  # layers are directories here
        made = [path for path in (daemon.data_root / "snapshots").glob("*/fs/second")]
    flip(max(made, key=lambda path: path.stat().st_size))
    found = cli.run("system", "check")
    assert found.code == 1 and "damaged layer sha256:" in found.out and "1 damaged" in found.out
    assert "1 damaged, 1 repaired" in cli("system", "check", "--repair")
    assert "0 damaged" in cli("system", "check")
    assert cli("run", "--rm", name, "cat", "/second") == "second"
    cli("rmi", name)


def test_an_image_that_could_not_be_read_comes_back(registry, pushed, daemon):
    cli, name = daemon.corten, f"{registry.address}/{pushed}:1"
    cli("pull", "-q", name)
    _, manifest = registry.manifest(pushed, "1")
    os.unlink(blob(daemon, manifest["config"]["digest"]))
    daemon.restart()
    assert cli.run("image", "inspect", name).code == 1
    assert "1 damaged, 1 repaired" in cli("system", "check", "--repair")
    assert cli("run", "--rm", name, "cat", "/second") == "second"
    cli("rmi", name)


def test_what_cannot_be_repaired_says_why(daemon):
    cli = daemon.corten
    cli("run", "--name", "maker", "busybox", "sh", "-c", "head -c 100000 /dev/urandom > /random")
    cli("commit", "maker", "127.0.0.1:9/only/here:1")
    cli("rm", "maker")
    manifest = json.loads(blob(daemon, newest_manifest(daemon, "127.0.0.1:9/only/here:1")).read_text())
    flip(blob(daemon, manifest["layers"][-1]["digest"]))
    left = cli.run("system", "check", "--repair")
    assert left.code == 1 and "not repaired:" in left.out and "127.0.0.1:9/only/here" in left.out
    cli("rmi", "127.0.0.1:9/only/here:1")
    assert "0 damaged" in cli("system", "check")


def test_layers_of_either_compression_are_sound(make_daemon):
    daemon = make_daemon("--storage-opt", "layers=auto")
    cli = daemon.corten
    if not layer_files(daemon):
        pytest.skip("layers are directories here")

    def start_with(compression):
        daemon.stop()
        daemon.extra = ["--storage-opt", "layers=image", "--storage-opt", f"compression={compression}"]
        try:
            daemon.start()
        except Failed as error:
            assert "CONFIG_EROFS_FS_ZIP" in str(error)
            pytest.skip("this kernel reads no compressed images")
        layers = dict(cli.json("info", "--format", "{{json .DriverStatus}}"))["Layers"]
        assert layers.endswith(", LZ4") == (compression == "lz4")

    def add_layer(number):
        before = set(layer_files(daemon))
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w") as out:
            entry = tarfile.TarInfo("text")
            entry.size = 1_000_000
            out.addfile(entry, io.BytesIO(f"{number:07}\n".encode() * 125_000))
        cli("import", "-", f"text:{number}", input=tar.getvalue(), text=False)
        (made,) = set(layer_files(daemon)) - before
        return made

    plain = add_layer(1)
    start_with("lz4")
    small = add_layer(2)
    assert small.stat().st_size * 5 < plain.stat().st_size
    assert cli("run", "--rm", "busybox", "echo", "well") == "well"
    assert cli("system", "check", "-q") == ""
    start_with("none")
    assert cli("system", "check", "-q") == ""
    sizes = [plain.stat().st_size, small.stat().st_size]
    flip(small)
    flip(plain)
    assert "2 damaged" in cli.run("system", "check").out
    assert "2 damaged, 2 repaired" in cli("system", "check", "--repair")
    assert cli("system", "check", "-q") == ""
    now = [pathlib.Path(cli.json("inspect", f"text:{i}")[0]["GraphDriver"]["Data"]["UpperDir"]) for i in (1, 2)]
    assert now[0] != plain and now[1] != small
    assert [file.stat().st_size for file in now] == sizes, "a layer keeps its form"


def test_directories_are_not_compressed(make_daemon):
    daemon = make_daemon("--storage-opt", "layers=directory", "--storage-opt", "compression=lz4", start=False)
    with pytest.raises(Failed) as error:
        daemon.start()
    assert "compression=lz4 is for layers as images" in str(error.value)


def newest_manifest(daemon, name):
    """The digest of the image's manifest, which only the store knows for an image that was never pushed."""
    config = daemon.corten.json("image", "inspect", name)[0]["Id"]
    for path in (daemon.data_root / "content/sha256").iterdir():
        if path.stat().st_size < 100_000 and config.encode() in path.read_bytes():
            return f"sha256:{path.name}"
    raise AssertionError(f"no manifest names {config}")


def test_bad_flags(daemon):
    cli = daemon.corten
    assert "invalid --format" in cli.fails("system", "check", "--format", "yaml")
    assert cli.run("system", "check", "extra").code != 0
