"""The engines and runtimes that are compared: how each is started, addressed and stopped. All of it inside bench/sandbox.py."""

import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import sandbox

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("CORTEN_BIN", ROOT / "build" / "bin"))
IMAGE = "bench-busybox"


class Failed(Exception):
    pass


def output(*command, timeout=120, **options):
    """What the command prints; Failed with its last error line otherwise."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise Failed(f"{pathlib.Path(command[0]).name}: {lines[-1]}")
    return done.stdout.strip()


def processes():
    """Process id to program name, of all in this namespace. By argv: a program on a detached mount has no path."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                name = os.path.basename(os.readlink(f"/proc/{entry}/exe")).removesuffix(" (deleted)")
                # A program on a mount that is attached nowhere (corten-shim's) has no path: its own name for itself counts.
                found[int(entry)] = name or pathlib.Path(f"/proc/{entry}/comm").read_text().strip()
            except OSError:
                continue
    return found


def field_kib(path, field):
    try:
        with open(path) as file:
            for line in file:
                if line.startswith(field):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def memory_mib(names):
    """Proportional and resident set of all processes whose program is one of `names`, in MiB, and their number."""
    pids = [pid for pid, name in processes().items() if name in names]
    pss = sum(field_kib(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids)
    rss = sum(field_kib(f"/proc/{pid}/status", "VmRSS:") for pid in pids)
    return {"pss": pss / 1024, "rss": rss / 1024, "count": len(pids)}


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """The Engine API over one kept connection."""

    def __init__(self, path):
        self.connection = UnixConnection(path)

    def __call__(self, method, target, body=None):
        payload = None if body is None else json.dumps(body)
        self.connection.request(method, target, payload, {"Content-Type": "application/json"} if payload else {})
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise Failed(f"{method} {target}: {answer.status} {data[:200].decode(errors='replace')}")
        return json.loads(data) if data and answer.headers.get_content_type() == "application/json" else data


class Daemon:
    """What Docker and Corten have in common: a daemon on a socket with a client of the same flags."""

    name = ""
    client_program = ""
    force = ("-f",)  # flags of `rm` that end a running container at once
    daemon_programs = ()  # processes that are there when idle
    shim_programs = ()  # processes that come with each container

    def __init__(self, scratch, cgroup):
        self.base = scratch / self.name.lower()
        self.base.mkdir(parents=True)
        self.socket = self.base / "engine.sock"
        self.cgroup = cgroup
        self.log = self.base / "daemon.log"
        self.process = None
        (self.base / "daemon.json").write_text("{}")

    def command(self, *arguments):
        return [str(self.client_program), "-H", f"unix://{self.socket}", *map(str, arguments)]

    def call(self, *arguments, **options):
        return output(*self.command(*arguments), **options)

    def start(self, patience=60):
        """Starts the daemon; gives the seconds until it answered a ping."""
        with open(self.log, "ab") as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(
                self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=sandbox.show_v2_controllers
            )
        while not self.answers():
            if self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
            if time.monotonic() - begin > patience:
                raise Failed(f"{self.name} did not answer within {patience} s: {self.last_words()}")
            time.sleep(0.0005)
        return time.monotonic() - begin

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(10)
                client.connect(str(self.socket))
                client.sendall(b"GET /_ping HTTP/1.0\r\nHost: bench\r\n\r\n")
                return b" 200 " in client.recv(300)
        except OSError:
            return False

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"

    def stop(self, patience=60):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def prepare(self, archive):
        self.start()
        self.call("import", archive, IMAGE)
        self.call("run", "--rm", IMAGE, "true")

    def idle_memory(self):
        return memory_mib(self.daemon_programs)

    def shim_memory(self):
        return memory_mib(self.shim_programs)


class Corten(Daemon):
    name = "Corten"
    client_program = BIN / "corten"
    daemon_programs = ("cortend",)
    shim_programs = ("corten-shim",)

    def arguments(self):
        return [
            str(BIN / "cortend"), "--config-file", str(self.base / "daemon.json"), "--host", f"unix://{self.socket}",
            "--data-root", str(self.base / "data"), "--exec-root", f"/run/bench-{self.name.lower()}",
            "--pidfile", str(self.base / "pid"), "--bridge", "cortenbench0", "--bip", "10.231.0.1/16",
            "--cgroup-parent", f"/{self.cgroup}/corten",
        ]  # fmt: skip

    def version(self):
        return output(self.client_program, "--version")


class Docker(Daemon):
    name = "Docker"
    client_program = "/usr/bin/docker"
    daemon_programs = ("dockerd", "containerd")
    shim_programs = ("containerd-shim-runc-v2", "docker-proxy")

    def arguments(self):
        return [
            "/usr/sbin/dockerd", "--config-file", str(self.base / "daemon.json"), "--host", f"unix://{self.socket}",
            "--data-root", str(self.base / "data"), "--exec-root", f"/run/bench-{self.name.lower()}",
            "--pidfile", str(self.base / "pid"), "--bip", "10.232.0.1/16", "--oom-score-adjust", "0",
            "--cgroup-parent", f"/{self.cgroup}/docker",
        ]  # fmt: skip

    def version(self):
        return output(self.client_program, "--version")


class Podman:
    """No daemon. Where rlimits cannot be raised or groups not be made, the flags that avoid it are found by trying."""

    name = "Podman"
    force = ("-f", "-t", "0")

    def __init__(self, scratch, cgroup):
        self.base = scratch / "podman"
        self.base.mkdir()
        self.cgroup = cgroup
        self.choice = ()

    def command(self, *arguments):
        front = ["/usr/bin/podman", "--root", str(self.base / "root"), "--runroot", "/run/bench-podman",
                 "--tmpdir", "/run/bench-podman-tmp", "--cgroup-manager", "cgroupfs"]  # fmt: skip
        words = [str(word) for word in arguments]
        if words[0] == "run":
            words[1:1] = ["--ulimit", "host", *self.choice]
        return front + words

    def call(self, *arguments, **options):
        return output(*self.command(*arguments), **options)

    def prepare(self, archive):
        self.call("import", archive, IMAGE)
        problem = None
        for choice in (("--cgroup-parent", f"/{self.cgroup}/podman"), ("--cgroups", "disabled")):
            self.choice = choice
            try:
                self.call("run", "--rm", IMAGE, "true")
                return
            except Failed as error:
                problem = problem or error
        raise problem

    def stop(self):
        pass

    def version(self):
        runtime = self.call("info", "--format", "{{.Host.OCIRuntime.Name}}, {{.Host.NetworkBackend}}")
        return f"{output('/usr/bin/podman', '--version')} ({runtime})"


class Runtime:
    """A bare OCI runtime with a bundle."""

    def __init__(self, program, bundle, state):
        self.name = pathlib.Path(program).name
        self.program = program
        self.bundle = bundle
        self.state = state / self.name
        self.state.mkdir(parents=True)

    def command(self):
        return [str(self.program), "--root", str(self.state), "run", "--bundle", str(self.bundle), f"bench-{self.name}"]

    def prepare(self, _):
        output(*self.command())

    def version(self):
        return output(self.program, "--version").splitlines()[0]


def make_image(scratch):
    """A root file system of one static busybox, and its archive."""
    root = scratch / "rootfs"
    for folder in ("bin", "etc", "dev", "proc", "sys", "tmp"):
        (root / folder).mkdir(parents=True)
    (root / "bin" / "busybox").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
    (root / "bin" / "busybox").chmod(0o755)
    for applet in ("true", "sh", "sleep"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    archive = scratch / "busybox.tar"
    output("tar", "-C", root, "--owner=0", "--group=0", "-cf", archive, ".")
    return root, archive


def make_bundle(scratch, root, cgroup):
    """The bundle that `runc spec` proposes, running `true` in a group of ours."""
    bundle = scratch / "bundle"
    bundle.mkdir()
    output("runc", "spec", cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["true"]
    config["process"]["terminal"] = False
    config["process"].pop("rlimits", None)
    config["root"]["path"] = str(root)
    config["linux"]["cgroupsPath"] = f"/{cgroup}/bare"
    (bundle / "config.json").write_text(json.dumps(config))
    return bundle
