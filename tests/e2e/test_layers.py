"""How layers are kept: as images or directories, one on the other, many on each other, and damaged."""

import io
import json
import pathlib
import tarfile

import pytest
from archives import docker_archive, tar_of
from conftest import Failed, layer_files, wait_until


def archive_of(path, name, layers, command=("/bin/sh",)):
    """An archive as docker save writes it, of an image of these layers (tars)."""
    path.write_bytes(
        docker_archive(
            name,
            layers,
            architecture="amd64",
            config={"Cmd": list(command), "Env": ["PATH=/bin"]},
            history=[{"created_by": f"layer {i}"} for i in range(len(layers))],
        )
    )
    return path


def layer_form(daemon):
    rows = dict(daemon.corten.json("info", "--format", "{{json .DriverStatus}}"))
    return rows["Layers"]


def make_or_skip(make_daemon, form, **options):
    try:
        return make_daemon("--storage-opt", f"layers={form}", **options)
    except Failed as error:
        if form == "image" and "cannot be kept as images here" in str(error):
            pytest.skip("this kernel mounts no images")
        raise


def use(corten, image):
    """Runs, writes, asks what changed, copies, commits and exports."""
    assert corten("run", "--rm", image, "echo", "hello") == "hello"
    name = corten("create", image, "sh", "-c", "echo new > /made; rm /etc/group; ln /made /linked; cat /made")
    assert corten("start", "-a", name) == "new"
    assert set(corten("diff", name).splitlines()) == {"C /etc", "D /etc/group", "A /made", "A /linked"}
    assert corten("cp", f"{name}:/made", "-", text=False)
    corten("commit", name, "committed:x")
    assert corten("run", "--rm", "committed:x", "sh", "-c", "cat /made /linked; test ! -e /etc/group") == "new\nnew"
    exported = corten("export", name, text=False)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        names = {entry.name.removeprefix("./") for entry in tar}
    assert {"made", "linked", "bin/busybox"} <= names and "etc/group" not in names
    corten("rm", name)
    corten("rmi", "committed:x")


@pytest.mark.parametrize("form", ["image", "directory"])
def test_both_forms_do_all(make_daemon, form):
    daemon = make_or_skip(make_daemon, form)
    assert layer_form(daemon).startswith("EROFS images" if form == "image" else "directories")
    assert len(layer_files(daemon)) == (1 if form == "image" else 0)
    use(daemon.corten, "busybox")
    daemon.restart()
    use(daemon.corten, "busybox")
    daemon.corten("rmi", "-f", "busybox")
    wait_until(lambda: {p.name for p in (daemon.data_root / "snapshots").iterdir()} == {"init"}, what="the layers to go")


def test_a_data_root_goes_from_one_form_to_the_other_and_back(make_daemon):
    daemon = make_or_skip(make_daemon, "image")
    corten = daemon.corten
    corten("create", "--name", "old", "busybox", "cat", "/etc/passwd")
    for number, form in enumerate(["directory", "image"], 1):
        daemon.stop()
        daemon.extra = ["--storage-opt", f"layers={form}"]
        daemon.start()
        below = "busybox" if number == 1 else f"mixed:{number - 1}"
        corten("run", "--name", "step", below, "sh", "-c", f"echo {number} > /step{number}")
        corten("commit", "step", f"mixed:{number}")
        corten("rm", "step")
        assert "root" in corten("start", "-a", "old")
        use(corten, f"mixed:{number}")
    assert corten("run", "--rm", "mixed:2", "cat", "/step1", "/step2") == "1\n2"
    wait_until(lambda: len(layer_files(daemon)) == 2, what="the layers of the forms that they were made in")


@pytest.mark.parametrize("option", ["overlay2.size=10G", "layers=tree", "layers"])
def test_other_options_are_refused(make_daemon, option):
    daemon = make_daemon("--storage-opt", option, start=False)
    with pytest.raises(Failed) as error:
        daemon.start()
    assert "layers=auto" in str(error.value)


def test_five_hundred_layers(make_daemon, busybox_tar, tmp_path):
    daemon = make_daemon(image=False)
    corten = daemon.corten
    layers = [pathlib.Path(busybox_tar).read_bytes()]
    layers += [tar_of({f"layer{i}": f"{i}", "top": f"{i}", f"gone/.wh.gone{i - 1}": "", f"gone/gone{i}": ""}) for i in range(1, 500)]
    corten("load", "-i", archive_of(tmp_path / "many.tar", "many:latest", layers), timeout=120)
    look = "cat /layer1 /layer250 /layer499 /top; echo; ls /gone; ls /etc/hosts"
    assert corten("run", "--rm", "many", "sh", "-c", look).split() == ["1250499499", "gone499", "/etc/hosts"]
    use(corten, "many")
    corten("run", "--name", "more", "many", "sh", "-c", "rm /layer1; echo more > /more")
    corten("commit", "more", "many:501")
    shown = corten("run", "--rm", "many:501", "sh", "-c", "cat /more; test -e /layer1 || echo no")
    assert shown.split() == ["more", "no"]
    daemon.restart()
    assert corten("run", "--rm", "many:501", "cat", "/layer499") == "499"
    # What is more than even that.
    layers += [tar_of({f"layer{i}": f"{i}"}) for i in range(500, 991)]
    refused = corten.fails("load", "-i", archive_of(tmp_path / "more.tar", "more:latest", layers), timeout=120)
    assert "max depth exceeded" in refused


def test_a_damaged_image_says_so(make_daemon):
    daemon = make_or_skip(make_daemon, "image")
    corten = daemon.corten
    daemon.stop()
    (file,) = layer_files(daemon)
    whole = file.read_bytes()
    for torn in (whole[: len(whole) // 2 & ~4095], b"", b"\0" * len(whole), whole[:1024] + b"\0" * 128 + whole[1152:]):
        file.write_bytes(torn)
        daemon.start()
        error = corten.fails("run", "--rm", "busybox", "true")
        assert "damaged" in error and "corten system check" in error, error
        daemon.stop()
    file.write_bytes(whole)
    daemon.start()
    assert corten("run", "--rm", "busybox", "echo", "well") == "well"
