"""A cortend of its own for the tests, and the clients that talk to it.

Each session gets its own data root, exec root, socket and bridge, so that several may run side by side. Before and
after, the host is looked at: whatever a test run leaves behind (mounts, links, control groups, nftables tables,
processes) is an error of the run.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Programs built with a sanitizer take several times as long.
SLOWNESS = float(os.environ.get("CORTEN_SLOWNESS", "1"))
# "image" or "directory": all tests with layers of that form.
LAYERS = os.environ.get("CORTEN_LAYERS", "")
BIN = pathlib.Path(os.environ.get("CORTEN_BIN", ROOT / "build" / "bin"))

# A run that a script put into the background ignores interrupts, and so would the clients that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def docker_program():
    """The docker CLI: the one on the PATH, else the one that tools/setup took out of its package."""
    packaged = ROOT / "build" / "docker-cli" / "usr" / "bin" / "docker"
    return shutil.which("docker") or (str(packaged) if packaged.exists() else None)


class Failed(AssertionError):
    pass


class Result:
    def __init__(self, command, process):
        self.command = command
        self.code = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    def __repr__(self):
        return f"$ {' '.join(map(str, self.command))}\nexit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


class Cli:
    """A command line client. Calling it fails the test unless the exit code is the expected one."""

    def __init__(self, program, host, environment):
        self.program = str(program)
        self.host = host
        self.environment = environment

    def argv(self, *arguments):
        return [str(self.program), "-H", self.host, *map(str, arguments)]

    def run(self, *arguments, input=None, timeout=60, text=True, env=None):
        command = self.argv(*arguments)
        if isinstance(input, str) and not text:
            input = input.encode()
        process = subprocess.run(
            command,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            text=text,
            env={**self.environment, **(env or {})},
        )
        return Result(command, process)

    def __call__(self, *arguments, code=0, **options):
        result = self.run(*arguments, **options)
        if result.code != code:
            raise Failed(f"expected exit {code}: {result!r}")
        return result.out.strip() if isinstance(result.out, str) else result.out

    def fails(self, *arguments, code=None, **options):
        """The error text of a command that must fail."""
        result = self.run(*arguments, **options)
        if result.code == 0 or (code is not None and result.code != code):
            raise Failed(f"expected {'failure' if code is None else f'exit {code}'}: {result!r}")
        return result.err.strip()

    def popen(self, *arguments, **options):
        return subprocess.Popen(self.argv(*arguments), env=self.environment, **options)

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, **options))


def processes_below(path):
    """Process ids whose command line names `path`."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if str(path).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until(condition, timeout=10.0, what="the condition"):
    """For outside state that offers no event to wait for. Fails with `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"timed out after {timeout} s waiting for {what}")
        time.sleep(0.01)


class Daemon:
    """One cortend. start() waits until it answers; kill() is SIGKILL."""

    counter = 0

    def __init__(self, base, extra=()):
        Daemon.counter += 1
        self.base = pathlib.Path(base)
        self.number = (os.getpid() * 7 + Daemon.counter) % 16000
        self.bridge = f"ct-t{self.number}"
        self.subnet = f"10.{64 + self.number // 256}.{self.number % 256}"
        self.socket = self.base / "corten.sock"
        self.host = f"unix://{self.socket}"
        self.data_root = self.base / "data"
        self.exec_root = self.base / "exec"
        self.cgroup_parent = f"corten-test-{self.number}"
        self.log = self.base / "cortend.log"
        self.extra = list(extra)
        self.process = None
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CORTEN_"))}
        environment["DOCKER_CONFIG"] = str(self.base / "client-config")
        environment["HOME"] = str(self.base)
        self.environment = environment
        self.corten = Cli(BIN / "corten", self.host, environment)
        docker = docker_program()
        self.docker = Cli(docker, self.host, environment) if docker else None

    def arguments(self):
        return [
            str(BIN / "cortend"),
            "--config-file", str(self.base / "daemon.json"),
            "--host", self.host,
            "--data-root", str(self.data_root),
            "--exec-root", str(self.exec_root),
            "--bridge", self.bridge,
            "--bip", f"{self.subnet}.1/24",
            "--cgroup-parent", self.cgroup_parent,
            "--debug",
            *(["--storage-opt", f"layers={LAYERS}"] if LAYERS and "--storage-opt" not in self.extra else []),
            *self.extra,
        ]  # fmt: skip

    def start(self, timeout=20):
        config = self.base / "daemon.json"
        if not config.exists():
            config.write_text("{}")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        def answers():
            if self.process.poll() is not None:
                raise Failed(f"cortend ended with {self.process.returncode}:\n{self.log_tail()}")
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(5)
                    client.connect(str(self.socket))
                    client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                    return b"200" in client.recv(200)
            except OSError:
                return False
        wait_until(answers, timeout, "cortend to answer")
        return self

    def log_tail(self, lines=40):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=30):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise Failed(f"cortend did not stop within {timeout} s:\n{self.log_tail()}")
        return self.process.returncode if self.process else None

    def restart(self):
        self.stop()
        return self.start()

    # --- what must be gone in the end

    def leaks(self):
        """What this daemon has left on the host, as lines of text. Empty is good."""
        found = []
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        found += [f"mount: {line}" for line in mounts.splitlines() if str(self.base) in line]
        for hierarchy in pathlib.Path("/sys/fs/cgroup").glob("*"):
            for parent in [hierarchy / self.cgroup_parent, pathlib.Path("/sys/fs/cgroup") / self.cgroup_parent]:
                if parent.is_dir():
                    found += [f"cgroup: {child}" for child in parent.iterdir() if child.is_dir()]
        own = {self.process.pid} if self.process and self.process.poll() is None else set()
        found += [f"process: {pid}" for pid in processes_below(self.base) if pid not in own]
        return sorted(set(found))

    def shims(self):
        """Shims that still serve this daemon's containers; their first processes end with them."""
        found = []
        for state in self.exec_root.glob("containers/*/state"):
            try:
                pid = int(dict(line.split("=", 1) for line in state.read_text().splitlines())["shim_pid"])
                if pathlib.Path(f"/proc/{pid}/comm").read_text().startswith("corten-shim"):
                    found.append(pid)
            except (OSError, KeyError, ValueError):
                continue
        return found

    def ports_published(self):
        """Elements of this daemon's nftables maps that publish a port."""
        tables = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True).stdout
        return tables.count(f'"{self.subnet}.')

    def clean(self):
        """Removes everything, whatever state the daemon is in."""
        try:
            if self.process and self.process.poll() is None:
                ids = self.corten.run("ps", "-aq").out.split()
                if ids:
                    self.corten.run("rm", "-f", "-v", *ids, timeout=120)
            self.stop()
        finally:
            self.kill()
            for pid in [*processes_below(self.base), *self.shims()]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True)
            self.delete_tables()
            for hierarchy in ["/sys/fs/cgroup", *map(str, pathlib.Path("/sys/fs/cgroup").glob("*"))]:
                parent = pathlib.Path(hierarchy) / self.cgroup_parent
                if parent.is_dir():
                    for child in list(parent.iterdir()) + [parent]:
                        if child.is_dir():
                            try:
                                child.rmdir()
                            except OSError:
                                pass

    def delete_tables(self):
        """nftables tables that only speak of this daemon's bridge."""
        listing = subprocess.run(["nft", "-j", "list", "tables"], capture_output=True, text=True).stdout
        if not listing:
            return
        for item in json.loads(listing)["nftables"]:
            table = item.get("table")
            if not table:
                continue
            text = subprocess.run(
                ["nft", "list", "table", table["family"], table["name"]], capture_output=True, text=True
            ).stdout
            if f'"{self.bridge}"' in text:
                subprocess.run(["nft", "delete", "table", table["family"], table["name"]])


def busybox_rootfs(folder):
    """A root file system with busybox and nothing else."""
    root = pathlib.Path(folder)
    for name in ("bin", "etc", "tmp", "root", "var", "usr/bin", "sbin", "home"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    applets = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        link = root / "bin" / applet
        if not link.exists() and applet != "busybox":
            link.symlink_to("busybox")
    (root / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nalice:x:1000:1000::/home:/bin/sh\n"
    )
    (root / "etc" / "group").write_text("root:x:0:\nnogroup:x:65534:\nalice:x:1000:\nstaff:x:50:alice\nwheel:x:10:\n")
    return root


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory):
    if not pathlib.Path("/bin/busybox").exists():
        pytest.skip("needs /bin/busybox (package busybox-static)")
    folder = tmp_path_factory.mktemp("busybox")
    root = busybox_rootfs(folder / "rootfs")
    archive = folder / "busybox.tar"
    subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-cf", archive, "."], check=True)
    return archive


@pytest.fixture
def make_daemon(busybox_tar):
    """Makes daemons that are cleaned away at the end, leaks looked for."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made = []

    def make(*extra, start=True, image=True):
        base = tempfile.mkdtemp(prefix="ct-", dir="/tmp")
        daemon = Daemon(base, extra)
        made.append(daemon)
        if start:
            daemon.start()
            if image:
                daemon.corten("import", busybox_tar, "busybox:latest")
        return daemon

    yield make
    problems = []
    for daemon in made:
        daemon.clean()
        problems += daemon.leaks()
        if not problems:
            shutil.rmtree(daemon.base, ignore_errors=True)
    assert not problems, "left behind:\n" + "\n".join(problems)


@pytest.fixture(scope="session")
def shared(busybox_tar, tmp_path_factory):
    """The daemon that most tests share."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = tempfile.mkdtemp(prefix="ct-", dir="/tmp")
    daemon = Daemon(base)
    daemon.start()
    daemon.corten("import", busybox_tar, "busybox:latest")
    yield daemon
    daemon.clean()
    problems = daemon.leaks()
    if not problems:
        shutil.rmtree(base, ignore_errors=True)
    assert not problems, "left behind:\n" + "\n".join(problems)


@pytest.fixture
def daemon(shared, busybox_tar):
    """The shared daemon; the test's containers and images are removed afterwards and their traces looked for."""
    yield shared
    ids = shared.corten.run("ps", "-aq").out.split()
    if ids:
        shared.corten("rm", "-f", "-v", *ids, timeout=120)
    names = shared.corten("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    for name in names:
        if name != "busybox:latest":
            shared.corten.run("rmi", "-f", name)
    shared.corten("image", "prune", "-f")
    if "busybox:latest" not in names:
        shared.corten("import", busybox_tar, "busybox:latest")
    wait_until(lambda: not shared.leaks(), 10, f"nothing to be left behind: {shared.leaks()}")


@pytest.fixture
def corten(daemon):
    return daemon.corten


@pytest.fixture
def docker(daemon):
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")
    return daemon.docker


@pytest.fixture(params=["corten", "docker"])
def cli(request, daemon):
    """Each of both clients in turn: their results must be the same."""
    client = getattr(daemon, request.param)
    if client is None:
        pytest.skip("no docker CLI on the PATH")
    return client


@pytest.fixture
def clients(daemon, tmp_path):
    """Both clients, with one configuration directory of this test's own."""
    for client in (daemon.corten, daemon.docker):
        if client is not None:
            client.environment = {**daemon.environment, "DOCKER_CONFIG": str(tmp_path / "config")}
    yield daemon.corten, daemon.docker
    for client in (daemon.corten, daemon.docker):
        if client is not None:
            client.environment = daemon.environment


# --- registries. registries.py needs this file, and tests/fault this one alone.


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    from registries import Registry

    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Behind TLS, with a password."""
    from registries import Registry

    registry = Registry(tmp_path_factory.mktemp("guarded"), password="secret")
    yield registry
    registry.stop()


@pytest.fixture
def pushed(registry, daemon, tmp_path):
    """A two-layer image in the registry and nowhere else; its name."""
    from registries import need_skopeo, repository_name

    need_skopeo()
    cli = daemon.corten
    cli("run", "--name", "maker", "busybox", "sh", "-c", "echo second > /second; head -c 3000000 /dev/urandom > /random")
    cli("commit", "-c", "LABEL kind=pulled", "maker", "made")
    cli("save", "-o", str(tmp_path / "made.tar"), "made")
    cli("rm", "maker")
    cli("rmi", "made")
    name = repository_name(tmp_path, "team")
    registry.put(tmp_path / "made.tar", f"{name}:1")
    return name


def images(cli):
    return set(cli("images", "-q", "--no-trunc").split())


def blobs(daemon):
    return {path.name for path in (daemon.data_root / "content/sha256").iterdir()}


def layer_files(daemon):
    return sorted(daemon.data_root.glob("snapshots/*/layer.erofs"))
