"""Dockerfiles with what they must become: built here and by Docker's own builders, and compared.

An Entry is plain data. Contexts are written with fixed times, so that two builds of one see the same.
"""

import bz2
import dataclasses
import difflib
import gzip
import hashlib
import io
import json
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

from conftest import ROOT, busybox_rootfs

EPOCH = 1_700_000_000
WAITING_NETWORKS = 8  # no more than these are made ahead
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# --- what a context is made of; a str or bytes is a file of mode 0644


@dataclasses.dataclass
class File:
    content: str | bytes = b""
    mode: int = 0o644
    owner: tuple = (0, 0)


@dataclasses.dataclass
class Folder:
    mode: int = 0o755
    owner: tuple = (0, 0)


@dataclasses.dataclass
class Link:
    target: str


@dataclasses.dataclass
class HardLink:
    target: str  # a name that comes before it


@dataclasses.dataclass
class Pipe:
    mode: int = 0o644


@dataclasses.dataclass
class Tar:
    """An archive of `files`: kind "", "gz", "bz2", "xz"."""

    files: dict
    kind: str = ""

    def bytes(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, what in self.files.items():
                item, data = tarfile.TarInfo(name), b""
                item.mtime = EPOCH
                if isinstance(what, Link):
                    item.type, item.linkname, item.mode = tarfile.SYMTYPE, what.target, 0o777
                elif isinstance(what, Folder):
                    item.type, item.mode, (item.uid, item.gid) = tarfile.DIRTYPE, what.mode, what.owner
                else:
                    file = what if isinstance(what, File) else File(what)
                    data = as_bytes(file.content)
                    item.mode, item.size, (item.uid, item.gid) = file.mode, len(data), file.owner
                archive.addfile(item, io.BytesIO(data))
        pack = {"": bytes, "gz": lambda data: gzip.compress(data, mtime=EPOCH), "bz2": bz2.compress, "xz": lzma.compress}
        return pack[self.kind](out.getvalue())


def as_bytes(content):
    return content.encode() if isinstance(content, str) else content


def write_one(path, what, folder):
    if isinstance(what, Folder):
        path.mkdir(exist_ok=True)
        os.chown(path, *what.owner)
        path.chmod(what.mode)
    elif isinstance(what, Link):
        path.symlink_to(what.target)
    elif isinstance(what, HardLink):
        os.link(folder / what.target, path)
    elif isinstance(what, Pipe):
        os.mkfifo(path)
        path.chmod(what.mode)
    else:
        file = what if isinstance(what, File) else File(what.bytes() if isinstance(what, Tar) else what)
        path.write_bytes(as_bytes(file.content))
        os.chown(path, *file.owner)
        path.chmod(file.mode)


def write_tree(folder, files):
    """Names may be in any order; folders that are not named are 0755."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, what in files.items():
        path = folder / name
        for parent in reversed(path.relative_to(folder).parents[:-1]):
            if not (folder / parent).exists():
                (folder / parent).mkdir()
                (folder / parent).chmod(0o755)
        write_one(path, what, folder)
    set_times(folder)


def set_times(folder, when=EPOCH):
    for place, folders, names in os.walk(folder, topdown=False):
        for name in [*names, *folders]:
            os.utime(os.path.join(place, name), (when, when), follow_symlinks=False)
    os.utime(folder, (when, when))


# --- one Dockerfile of the corpus


NEWER = "the syntax is newer than the docker.io package's builder"


@dataclasses.dataclass
class Entry:
    name: str
    dockerfile: str
    shows: str  # what would be wrong if this failed
    files: dict = dataclasses.field(default_factory=dict)
    flags: tuple = ()
    # Command lines in the image (a str goes to `sh -c`; "" runs what the image says) and what they print.
    runs: dict = dataclasses.field(default_factory=dict)
    run_flags: tuple = ()
    config: dict = dataclasses.field(default_factory=dict)  # fields of the image's config
    # Images that are built before: name to Dockerfile.
    before: dict = dataclasses.field(default_factory=dict)
    buildkit: bool = True  # built by Docker's BuildKit and compared
    classic: bool = False  # built by Docker's classic builder and compared
    why_not: str = ""  # if it is not built by BuildKit: why
    differs: dict = dataclasses.field(default_factory=dict)  # part of the comparison that is left out, and why
    stdin: bool = False  # the Dockerfile comes by standard input
    secrets: dict = dataclasses.field(default_factory=dict)  # files beside the context, by name

    def write(self, base):
        """The context's folder, the Dockerfile in it, below `base`."""
        folder = pathlib.Path(base) / "context"
        files = dict(self.files)
        if self.dockerfile and not self.stdin:
            files["Dockerfile"] = self.dockerfile
        write_tree(folder, files)
        write_tree(pathlib.Path(base) / "beside", self.secrets)
        return folder

    def arguments(self, base, name):
        flags = [str(flag).format(beside=f"{base}/beside", context=f"{base}/context") for flag in self.flags]
        return ["build", "-t", name, *flags, *(["-f", "-"] if self.stdin else []), f"{base}/context"]

    def build(self, cli, base, name, *more, env=None):
        """Builds what write() wrote; what the client said, both streams."""
        env = {"DOCKER_BUILDKIT": "1", **(env or {})}
        for tag, text in self.before.items():
            folder = pathlib.Path(base) / ("before-" + re.sub(r"\W", "-", tag))
            if not folder.exists():
                write_tree(folder, {**self.files, "Dockerfile": text})
            cli("build", "-t", tag, *more, folder, env=env, timeout=120)
        words = self.arguments(base, name)
        words[1:1] = more
        done = cli.run(*words, input=self.dockerfile if self.stdin else None, env=env, timeout=300)
        assert done.code == 0, repr(done)
        return done.out + done.err


# --- what an image is, for comparing


CONFIG_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Healthcheck", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "OnBuild", "Shell",
)  # fmt: skip


def save(cli, name, file):
    cli("save", "-o", file, name, timeout=120)
    return file


KINDS = {
    tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "pipe", tarfile.CHRTYPE: "character", tarfile.BLKTYPE: "block",
}  # fmt: skip


class Saved:
    """An image as `save` gives it: its config, and the files that its layers make together."""

    def __init__(self, cli, name):
        with tempfile.TemporaryDirectory(prefix="ct-saved-") as folder:
            file = save(cli, name, pathlib.Path(folder) / "image.tar")
            self.files, self.layers = {}, 0
            with tarfile.open(file) as archive:
                manifest = json.load(archive.extractfile("manifest.json"))[0]
                self.document = json.load(archive.extractfile(manifest["Config"]))
                for layer in manifest["Layers"]:
                    self.add_layer(archive.extractfile(layer).read())

    def add_layer(self, data):
        self.layers += 1
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            # What a layer takes away is of those below, whatever the order of its entries.
            members = archive.getmembers()
            for member in members:
                self.take_away(clean(member.name))
            for member in members:
                path = clean(member.name)
                if path and not os.path.basename(path).startswith(".wh."):
                    self.put(path, member, archive)

    def take_away(self, path):
        place, name = os.path.split(path)
        if name == ".wh..wh..opq":
            self.remove(place, itself=False)
        elif name.startswith(".wh."):
            self.remove(os.path.join(place, name[4:]), itself=True)

    def remove(self, path, itself):
        for known in list(self.files):
            if known.startswith(path + "/") or (itself and known == path):
                del self.files[known]

    def put(self, path, member, archive):
        if member.islnk():
            self.files[path] = self.files[clean(member.linkname)]
            return
        if path in self.files and not member.isdir():
            self.remove(path, itself=True)
        kind = KINDS.get(member.type, "file")
        what = [kind, "" if kind == "link" else f"{member.mode & 0o7777:04o}", f"{member.uid}:{member.gid}"]
        if kind == "link":
            what.append(member.linkname)
        if kind in ("block", "character"):
            what.append(f"{member.devmajor}:{member.devminor}")
        if kind == "file":
            what += [str(member.size), hashlib.sha256(archive.extractfile(member).read()).hexdigest()[:16]]
        attributes = {k[len("SCHILY.xattr."):]: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
        what += [f"{key}={value!r}" for key, value in sorted(attributes.items())]
        self.files[path] = " ".join(what)

    def config(self):
        config = self.document.get("config") or {}
        return {field: config.get(field) for field in CONFIG_FIELDS if config.get(field)}

    def lines(self, leave_out=()):
        """Everything that is compared, a line each."""
        fields = [f"config {field}: {json.dumps(value, sort_keys=True)}" for field, value in self.config().items() if field not in leave_out]
        author = self.document.get("author")
        fields += [f"author: {author}"] if author and "author" not in leave_out else []
        ignored = [path for path in leave_out if path.startswith("/")]
        files = [f"file /{path}: {what}" for path, what in sorted(self.files.items()) if "/" + path not in ignored]
        return fields + files


def clean(name):
    return os.path.normpath("/" + name).lstrip("/")


def difference(ours, theirs, leave_out=()):
    """What tells two images apart, as a diff to read; "" if nothing does."""
    lines = difflib.unified_diff(theirs.lines(leave_out), ours.lines(leave_out), "docker", "corten", lineterm="", n=0)
    return "\n".join(lines)


# --- the base image, and a client for Docker's own builders


def base_archive(folder):
    """`base`: busybox, the places that engines mount over, a config with PATH and Cmd."""
    root = busybox_rootfs(folder / "rootfs")
    for name in ("dev", "proc", "sys", "run", "usr/local/bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("hosts", "hostname", "resolv.conf", "mtab"):
        (root / "etc" / name).touch()
    (root / "etc" / "old").write_text("of the base\n")
    set_times(root)
    layer = folder / "layer.tar"
    subprocess.run(["tar", "-C", root, "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-cf", layer, "."], check=True)
    data = layer.read_bytes()
    document = json.dumps({
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64", "os": "linux", "created": "2023-11-14T22:13:20Z",
        "config": {"Env": [PATH], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(data).hexdigest()]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "busybox"}],
    }).encode()  # fmt: skip
    name = hashlib.sha256(document).hexdigest() + ".json"
    archive = folder / "base.tar"
    with tarfile.open(archive, "w") as out:
        for path, content in (
            (name, document), ("layer.tar", data),
            ("manifest.json", json.dumps([{"Config": name, "RepoTags": ["base:latest"], "Layers": ["layer.tar"]}]).encode()),
        ):  # fmt: skip
            item = tarfile.TarInfo(path)
            item.size = len(content)
            out.addfile(item, io.BytesIO(content))
    return archive


def buildkit_client():
    """A docker CLI that speaks to BuildKit by itself, as those before version 23 do; newer ones want a plugin."""
    for program in ("/usr/bin/docker", ROOT / "build" / "docker-cli" / "usr" / "bin" / "docker", shutil.which("docker")):
        if program and pathlib.Path(program).exists():
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            version = re.search(r"version (\d+)\.", said)
            if version and int(version[1]) < 23:
                return str(program)
    return None


def left_by_builds(daemon, patience=10.0):
    """Containers, mounts, groups, links of steps that are still there after `patience` seconds: networks go a moment later."""
    end = time.monotonic() + patience
    while True:
        found = [f"container: {line}" for line in daemon.corten("ps", "-aq").split()] + daemon.leaks()
        links = subprocess.run(["ip", "-o", "link", "show", "master", daemon.bridge], capture_output=True, text=True).stdout.splitlines()
        # Networks that wait for the next container are no step's.
        found += [f"link: {line}" for line in links] if len(links) > WAITING_NETWORKS else []
        if not found or time.monotonic() >= end:
            return found
        time.sleep(0.05)
