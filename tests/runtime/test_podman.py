"""Podman with corten-runtime in the place of crun."""

import json
import os
import shutil
import subprocess
import tempfile

import pytest


@pytest.fixture
def podman(runtime, tmp_path, rootfs):
    if runtime.name != "corten-runtime":
        pytest.skip("their own test suites do that")
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    short = tempfile.mkdtemp(prefix="crt-")  # Podman wants a run root of at most 50 characters
    base = ["podman", "--root", f"{short}/root", "--runroot", f"{short}/run", "--cgroup-manager", "cgroupfs",
            "--runtime", runtime.program[0]]

    def call(*args, check=True):
        result = subprocess.run([*base, *args], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert not check or result.returncode == 0, result.stderr
        return result

    archive = tmp_path / "rootfs.tar"
    subprocess.run(["tar", "-C", rootfs, "-cf", archive, "."], check=True)
    imported = call("import", str(archive), "busy", check=False)
    if imported.returncode != 0:
        pytest.skip(f"podman cannot import here: {imported.stderr}")
    yield call
    call("rm", "-af", check=False)
    call("rmi", "-af", check=False)
    subprocess.run(["umount", f"{short}/root/overlay"], capture_output=True)
    shutil.rmtree(short, ignore_errors=True)


def test_podman_runs_with_it(podman):
    assert podman("run", "--rm", "--network", "none", "busy", "echo", "hello").stdout == "hello\n"
    assert podman("run", "--rm", "--network", "none", "busy", "sh", "-c", "exit 3", check=False).returncode == 3
    assert podman("run", "--rm", "--network", "none", "busy", "nosuch", check=False).returncode == 127
    podman("run", "-d", "--name", "one", "--network", "none", "-m", "64m", "--pids-limit", "50", "busy", "sleep", "1000")
    assert podman("exec", "one", "id", "-u").stdout == "0\n"
    podman("pause", "one")
    assert json.loads(podman("inspect", "one").stdout)[0]["State"]["Status"] == "paused"
    podman("unpause", "one")
    podman("stop", "-t", "0", "one")
    assert json.loads(podman("inspect", "one").stdout)[0]["State"]["ExitCode"] == 137
    podman("rm", "one")
    for controller in os.listdir("/sys/fs/cgroup"):
        parent = f"/sys/fs/cgroup/{controller}/libpod_parent"
        for directory, _, _ in os.walk(parent, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                pass  # another podman's
