"""A data root whose disk is full: every command says so, nothing half made stays, and removing makes room again."""

import json
import os
import pathlib
import subprocess

import pytest
from archives import digest_of, tar_of
from conftest import wait_until

MIB = 1 << 20


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request, make_daemon, busybox_tar):
    """A daemon with 64 MiB of disk, busybox in it."""
    daemon = make_daemon(start=False)
    daemon.data_root.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64m", "none"]
    if request.param == "ext4":
        image = daemon.base / "disk.img"
        with open(image, "wb") as file:
            file.truncate(64 * MIB)
        made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], capture_output=True)
        if made.returncode != 0:
            pytest.skip("mkfs.ext4 does not work here")
        options = ["-t", "ext4", "-o", "loop", image]
    mounted = subprocess.run(["mount", *options, daemon.data_root], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount {request.param}: {mounted.stderr}")
    try:
        daemon.start()
        daemon.corten("import", busybox_tar, "busybox:latest")
        yield daemon
        daemon.clean()
    finally:
        daemon.kill()
        subprocess.run(["umount", "-l", daemon.data_root])


def used(daemon):
    status = os.statvfs(daemon.data_root)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def image_archive(layer):
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": ["big:1"], "Layers": ["layer.tar"]}]).encode()
    return tar_of([("layer.tar", layer), ("config.json", config), ("manifest.json", manifest)])


def expect_as_before(daemon, before):
    """Nothing of what failed is left, and the daemon goes on working."""
    data = pathlib.Path(daemon.data_root)
    wait_until(lambda: used(daemon) <= before + MIB, 10, f"the disk to be as before ({before}, now {used(daemon)})")
    assert list((data / "content/ingest").iterdir()) == []
    assert daemon.corten("images", "-q").count("\n") == 0
    assert daemon.corten("run", "--rm", "busybox", "echo", "works") == "works"


def test_import_and_load(small):
    before = used(small)
    noise = os.urandom(MIB)
    big = tar_of([("big", noise * 60)])
    assert "no space left on device" in small.corten.fails("import", "-", "big:1", input=big, text=False).decode()
    expect_as_before(small, before)
    for size in (30, 60):  # too large as blob and layer together, and as blob alone
        archive = image_archive(tar_of([("big", noise * size)]))
        said = small.corten.fails("load", input=archive, text=False).decode()
        assert "no space left on device" in said
        expect_as_before(small, before)


def test_commit(small):
    cli = small.corten
    cli("run", "--name", "ccc", "busybox", "dd", "if=/dev/urandom", "of=/big", "bs=1M", "count=24", timeout=120)
    before = used(small)
    assert "no space left on device" in cli.fails("commit", "ccc", "big")
    expect_as_before(small, before)


def test_cp_into_a_container(small, tmp_path):
    cli = small.corten
    cli("create", "--name", "ccc", "busybox", "true")
    (tmp_path / "big").write_bytes(os.urandom(MIB) * 70)
    assert "no space left on device" in cli.fails("cp", tmp_path / "big", "ccc:/big")
    cli("rm", "ccc")


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_a_container_that_fills_the_disk_can_be_removed(small, killed):
    cli = small.corten
    cli("tag", "busybox", "other")
    before = used(small)
    filled = cli.run("run", "--name", "glutton", "busybox", "sh", "-c", "dd if=/dev/zero of=/big bs=1M; for i in 1 2 3 4 5 6 7 8 9; do echo x > /f$i; done", timeout=120)
    assert "No space left" in filled.err
    assert os.statvfs(small.data_root).f_bavail * os.statvfs(small.data_root).f_frsize < 3 * MIB
    if killed:
        small.kill()
        small.start()
    assert "glutton" in cli("ps", "-a")
    cli("rmi", "other")
    cli("rm", "glutton")
    wait_until(lambda: used(small) <= before + 3 * MIB, 20, f"the space to be free again ({before}, now {used(small)})")
    small.kill()
    small.start()
    assert "glutton" not in cli("ps", "-a")
    assert "other" not in cli("images")
    assert cli("run", "--rm", "busybox", "echo", "works") == "works"
