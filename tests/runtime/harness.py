"""A runtime under test, and bundles for it."""

import copy
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_numbers = itertools.count()

NAMESPACES = ["pid", "ipc", "uts", "mount", "network"]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
]
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def base_config():
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs"},
        "hostname": "tested",
        "mounts": copy.deepcopy(MOUNTS),
        "linux": {
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "maskedPaths": ["/proc/kcore", "/proc/keys"],
            "readonlyPaths": ["/proc/sys", "/proc/bus"],
        },
    }


def make_rootfs(directory):
    """Busybox with a link for each of its commands; hard links keep it small."""
    binary = Path(shutil.which("busybox") or "/bin/busybox")
    (directory / "bin").mkdir(parents=True)
    for name in ("proc", "dev", "sys", "tmp", "etc"):
        (directory / name).mkdir()
    (directory / "tmp").chmod(0o1777)
    shutil.copy2(binary, directory / "bin/busybox")
    names = subprocess.run([binary, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")


class Bundle:
    def __init__(self, directory, rootfs):
        self.directory = directory
        directory.mkdir()
        self.rootfs = directory / "rootfs"
        # Links instead of copies: each test may write into its own tree, none changes the shared programs.
        shutil.copytree(rootfs, self.rootfs, symlinks=True, copy_function=os.link)
        (self.rootfs / "tmp").chmod(0o1777)
        self.config = base_config()

    def process(self, *args, **fields):
        self.config["process"]["args"] = list(args)
        self.config["process"].update(fields)
        return self

    def shell(self, script, **fields):
        return self.process("sh", "-c", script, **fields)

    def save(self):
        (self.directory / "config.json").write_text(json.dumps(self.config))
        return str(self.directory)


class Runtime:
    def __init__(self, name, program, directory):
        self.name = name
        self.program = program
        self.directory = directory
        self.root = directory / "state"
        self.made = []

    def command(self, *args):
        return [*self.program, "--root", str(self.root), *[str(arg) for arg in args]]

    def __call__(self, *args, check=True, **options):
        options.setdefault("timeout", 30)
        if "stdin" not in options and "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        # Files, not pipes: what is created lives on with these descriptors, and a pipe would not end before it does.
        with open(self.directory / "out", "w+b") as out, open(self.directory / "err", "w+b") as err:
            result = subprocess.run(self.command(*args), stdout=options.pop("stdout", out), stderr=err, **options)
            out.seek(0)
            err.seek(0)
            result.stdout = out.read().decode(errors="replace")
            result.stderr = err.read().decode(errors="replace")
        if check and result.returncode != 0:
            raise AssertionError(f"{result.args} gave {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def new_id(self):
        number = f"corten-rt-{os.getpid()}-{next(_numbers)}"
        self.made.append(number)
        return number

    def run(self, bundle, *flags, check=True, **options):
        return self("run", "-b", bundle.save(), *flags, self.new_id(), check=check, **options)

    def create(self, bundle, *flags, **options):
        number = self.new_id()
        self("create", "-b", bundle.save(), *flags, number, **options)
        return number

    def start(self, bundle, *flags, **options):
        number = self.create(bundle, *flags, **options)
        self("start", number)
        return number

    def state(self, number):
        return json.loads(self("state", number).stdout)

    def status(self, number):
        return self.state(number)["status"]

    def wait_status(self, number, wanted, seconds=10):
        return wait_for(lambda: self.status(number) == wanted, seconds, f"{number} to be {wanted}")

    def clean(self):
        for number in self.made:
            self("delete", "--force", number, check=False)

    def leftovers(self):
        states = [entry.name for entry in self.root.iterdir() if entry.name in self.made] if self.root.is_dir() else []
        return states + [path for path in group_directories() if os.path.basename(path) in self.made]


def wait_for(condition, seconds=10, what="the condition"):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.005)
    return True


def group_directories():
    """All groups of the machine; those that vanish meanwhile are passed over."""
    return [path for path, _, _ in os.walk("/sys/fs/cgroup")]


def group_file(number, v1_name, v2_name):
    """Content of a control file of the container's group, wherever the runtime put it."""
    for path in group_directories():
        if os.path.basename(path) != number:
            continue
        for name in (v1_name, v2_name):
            if os.path.exists(f"{path}/{name}"):
                return Path(f"{path}/{name}").read_text().strip()
    raise AssertionError(f"no {v1_name} or {v2_name} for {number}")
