"""How each engine builds: Corten, Docker's two builders, buildah. One command for each step, measured by builds.py."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess

import image_engines
from engines import Failed, output


class Corten(image_engines.Corten):
    builder = "Corten"

    def build(self, tag, folder, *flags):
        return self.command("build", "-q", "-t", tag, *flags, folder)


class Docker(image_engines.Docker):
    """dockerd, with the builder that its command takes when nothing is said."""

    builder, kind = "Docker", "0"

    def build(self, tag, folder, *flags):
        return ["/usr/bin/env", f"DOCKER_BUILDKIT={self.kind}", *self.command("build", "-q", "-t", tag, *flags, folder)]


class BuildKit(Docker):
    """The same daemon's other builder: `daemon` is the Docker that runs."""

    builder, kind = "BuildKit", "1"

    def __init__(self, daemon):
        self.__dict__.update(daemon.__dict__)

    def start(self, patience=60):
        pass

    def stop(self, patience=60):
        pass


class Buildah:
    """No daemon; Podman runs what it built. Flags that avoid what is not permitted here are found by trying."""

    name = builder = "buildah"

    def __init__(self, scratch, cgroup):
        self.base = scratch / "buildah"
        self.base.mkdir()
        self.places = ["--root", str(self.base / "root"), "--runroot", "/run/bench-buildah"]
        self.choice = ()

    def command(self, *words):
        return ["/usr/bin/buildah", *self.places, *map(str, words)]

    def call(self, *words, **options):
        return output(*self.command(*words), **options)

    def start(self):
        self.call("info")

    def stop(self):
        pass

    def choose(self, folder):
        """How RUN works here: in a container, else in a chroot."""
        problem = None
        for choice in ((), ("--ulimit", "nofile=1024:4096"), ("--isolation", "chroot")):
            self.choice = choice
            try:
                self.call(*self.build("localhost/bench-try", folder)[len(self.command()):])
                return
            except Failed as error:
                problem = problem or error
        raise problem

    def version(self):
        chosen = " ".join(self.choice)
        return output("/usr/bin/buildah", "--version") + (f" with {chosen}" if chosen else "")

    def load(self, file):
        return self.command("pull", "-q", f"docker-archive:{file}")

    def build(self, tag, folder, *flags):
        return self.command("build", "-q", "--layers", "--pull-never", *self.choice, "-t", tag, *flags, folder)

    def first_run(self, name):
        return None


def small_archive(folder, name):
    """An image of one busybox, as an archive that all engines load."""
    (folder / "root/bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", folder / "root/bin/busybox")
    for applet in ("sh", "true", "sleep", "cat", "wc"):
        (folder / "root/bin" / applet).symlink_to("busybox")
    output("tar", "-C", folder / "root", "--sort=name", "--owner=0", "--group=0", "--mtime=@1700000000", "-cf", folder / "layer.tar", ".")
    digest = hashlib.sha256((folder / "layer.tar").read_bytes()).hexdigest()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {"architecture": machine, "os": "linux", "created": "2023-11-14T22:13:20Z", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
              "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "bench"}]}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "manifest.json").write_text(json.dumps([{"Config": "config.json", "RepoTags": [f"{name}:latest"], "Layers": ["layer.tar"]}]))
    output("tar", "-C", folder, "-cf", folder / "small.tar", "manifest.json", "config.json", "layer.tar")
    return folder / "small.tar"


def prune(engine):
    """Nothing that was built before is there."""
    if isinstance(engine, Buildah):
        subprocess.run(engine.command("rmi", "-a", "-f"), capture_output=True)
    else:
        for words in (("builder", "prune", "-a", "-f"), ("system", "prune", "-f")):
            engine.call(*words, timeout=300)


def gigabytes(folder, size, files):
    """Files that do not compress and are all different, `size` bytes together; made once."""
    marker = folder / "whole"
    if marker.exists():
        return folder
    subprocess.run(["rm", "-rf", folder], check=True)
    block = os.urandom(8 << 20)
    each = size // files
    for number in range(files):
        place = folder / f"{number // 100:02}"
        place.mkdir(parents=True, exist_ok=True)
        with open(place / f"asset{number:04}", "wb") as file:
            file.write(number.to_bytes(8, "big"))
            left = each - 8
            while left > 0:
                left -= file.write(block[: min(left, len(block))])
    marker.write_text("all files are there\n")
    return folder
