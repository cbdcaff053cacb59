"""A real Docker daemon of the docker.io package, on a data root and socket of its own, without a network."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import Cli, docker_program, wait_until


def dockerd_program():
    return shutil.which("dockerd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Docker:
    """Without a bridge: containers get no network, or the host's."""

    def __init__(self, client=None):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dk-", dir="/tmp"))
        self.socket = self.base / "docker.sock"
        (self.base / "daemon.json").write_text("{}")
        with open(self.base / "log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    dockerd_program(),
                    "--config-file", self.base / "daemon.json", "--host", f"unix://{self.socket}",
                    "--data-root", self.base / "data", "--exec-root", self.base / "exec", "--pidfile", self.base / "pid",
                    "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CORTEN_"))}
        environment["DOCKER_CONFIG"] = str(self.base / "client")
        self.cli = Cli(client or docker_program(), f"unix://{self.socket}", environment)

    def answers(self):
        return self.process.poll() is not None or self.cli.run("version").code == 0

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)


def run_docker(client=None):
    """For a fixture: yields the Docker, once it answers; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if (client or docker_program()) is None or dockerd_program() is None:
        pytest.skip("needs dockerd and the docker CLI (package docker.io)")
    docker = Docker(client)
    try:
        wait_until(docker.answers, 60, "dockerd to answer")
        if docker.process.poll() is not None:
            pytest.skip("dockerd does not run here: " + (docker.base / "log").read_text(errors="replace")[-500:])
        yield docker
    finally:
        docker.stop()
