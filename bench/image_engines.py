"""How each engine moves images: what the same step is called, what it stores, what it needs of memory; and the registry between them."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

import engines
import sandbox
from engines import Failed, output


class Registry:
    """docker-registry on loopback. Blobs lie on the disk; `fresh` begins with none."""

    def __init__(self, folder, port):
        self.folder, self.address, self.port = folder, f"127.0.0.1:{port}", port
        self.process, self.generation = None, 0
        folder.mkdir(parents=True)

    def start(self):
        self.generation += 1
        config = self.folder / "config.yml"
        config.write_text(json.dumps({  # YAML reads JSON
            "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}}, "http": {"addr": self.address},
            "storage": {"filesystem": {"rootdirectory": str(self.data())}},
        }))  # fmt: skip
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed(f"docker-registry does not answer, see {self.folder}/log")
            time.sleep(0.02)

    def answers(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def data(self):
        return self.folder / f"data{self.generation}"

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def fresh(self):
        self.stop()
        output("rm", "-rf", self.data())
        self.start()

    def warm(self):
        """Has every blob in the page cache, so that the registry's disk is in nobody's figure."""
        warm_tree(self.data())

    def seconds(self):
        """Processor time that the registry has taken."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def warm_tree(top):
    buffer = bytearray(1 << 20)
    for folder, _, names in os.walk(top):
        for name in names:
            with open(os.path.join(folder, name), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def allocated(top):
    """Bytes on the disk of all below `top`, a file with several names once. What vanishes meanwhile does not count."""
    total, seen, waiting = 0, set(), [str(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_blocks * 512
        except FileNotFoundError:
            continue
    return total


class Moves:
    """Steps on images for clients with Docker's words. Each gives the command; the measuring is in images.py."""

    insecure = ()  # what makes the client speak plain HTTP with loopback

    def pull(self, name):
        return self.command("pull", *self.insecure, "-q", name)

    def push(self, name):
        return self.command("push", *self.insecure, "-q", name)

    def save(self, file, name):
        return self.command("save", "-o", file, name)

    def load(self, file):
        return self.command("load", "-q", "-i", file)

    def remove(self, *names):
        return self.command("rmi", *names)

    def tag(self, name, new):
        return self.command("tag", name, new)

    def first_run(self, name):
        return self.command("run", "--rm", "--network", "none", name, "true")

    def daemon_pids(self):
        """The daemon and the one it keeps; by number, since a program that was built anew has another name meanwhile."""
        others = [pid for pid, name in engines.processes().items() if name in self.daemon_programs[1:]]
        return [self.process.pid, *others]

    def reset_peak(self):
        for pid in self.daemon_pids():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak_bytes(self):
        return sum(engines.field_kib(f"/proc/{pid}/status", "VmHWM:") * 1024 for pid in self.daemon_pids())

    def stored(self):
        return allocated(self.base / "data")

    def root_of(self, container):
        return f"/proc/{self.call('inspect', '-f', '{{.State.Pid}}', container)}/root"


class Corten(Moves, engines.Corten):
    options = ()

    def arguments(self):
        return super().arguments() + list(self.options)


class Docker(Moves, engines.Docker):
    def version(self):
        info = engines.Api(self.socket)("GET", "/info")
        below = dict(info.get("DriverStatus") or []).get("Backing Filesystem", "").replace("extfs", "ext4")
        return f"{super().version()} for client and daemon, {info['Driver']} on {below}"


class Podman(Moves, engines.Podman):
    insecure = ("--tls-verify=false",)

    def prepare(self, _=None):
        self.choice = ("--cgroups", "disabled")
        self.call("info")

    def reset_peak(self):
        pass

    def peak_bytes(self):
        return None

    def stored(self):
        return allocated(self.base / "root")


class Containerd(Moves):
    """containerd with its own client: no `run`, `save` and `load` under other names."""

    name = "containerd"
    daemon_programs = ("containerd",)

    def __init__(self, scratch, _):
        self.base = scratch / "containerd"
        (self.base / "data").mkdir(parents=True)
        self.address = self.base / "containerd.sock"
        self.log = self.base / "daemon.log"
        self.process = None

    def command(self, *words):
        return ["/usr/bin/ctr", "-a", str(self.address), "-n", "bench", *map(str, words)]

    def call(self, *words, **options):
        return output(*self.command(*words), **options)

    def start(self):
        config = self.base / "config.toml"
        config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/containerd", "-c", str(config), "--root", str(self.base / "data"), "--state", "/run/bench-containerd",
                 "-a", str(self.address)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=sandbox.show_v2_controllers)  # fmt: skip
        end = time.monotonic() + 30
        while True:
            try:
                self.call("version")
                return
            except Failed:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def prepare(self, _=None):
        self.start()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)

    def version(self):
        return output("/usr/bin/ctr", "--version")

    def daemon_pids(self):
        return [self.process.pid]

    def pull(self, name):
        return self.command("images", "pull", "--plain-http", name)

    def push(self, name):
        return self.command("images", "push", "--plain-http", name)

    def save(self, file, name):
        return self.command("images", "export", file, name)

    def load(self, file):
        return self.command("images", "import", file)

    def remove(self, *names):
        return self.command("images", "rm", "--sync", *names)

    def tag(self, name, new):
        return self.command("images", "tag", name, new)

    def first_run(self, name):
        return None
