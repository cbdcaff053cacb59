"""The measurements of images: pull, push, save, load, remove, what is stored, what is read. Plain data; image_report.py says what it means.

All engines go through the same steps in each round, one after the other, in an order that changes by the round. Before each
step everything dirty is written out, so that no engine waits for another's writes; registry blobs and archives are in the page
cache for all. Each engine has a data root of its own on the same file system and begins without the image. That file system is an
ext4 with mke2fs' defaults in a file, unless told otherwise: what the machine itself runs on may have no journal or tell its disk of
every freed block, which makes deletion fifty times slower.
"""

import json
import os
import pathlib
import subprocess
import threading
import time

import engines
import image_engines
from engines import Failed, output
from figures import say

HERE = pathlib.Path(__file__).resolve().parent
STEPS = ("pull", "layers", "save", "load", "push", "cold")
REMOTE = "127.0.0.1:5000/bench"
TARGET = "127.0.0.1:5001/bench"
LOADED = "bench-debian:1"


def timed(command, timeout=600):
    """Seconds of the client and the most memory it had, in bytes; Failed with its last line if it fails."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    watchdog = threading.Timer(timeout, process.kill)
    watchdog.start()
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    watchdog.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines() or [f"exit {process.returncode}"]
        raise Failed(f"{' '.join(command[-4:])}: {lines[-1]}")
    return seconds, usage.ru_maxrss * 1024


def quiet():
    """Nothing dirty is left of what came before."""
    os.sync()
    time.sleep(0.2)


def forget():
    """Drops what the kernel keeps of files."""
    quiet()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def mount_disk(file, place, gib=16):
    """A file system of our own. Its loop device goes with the mount, and that with the sandbox."""
    with open(file, "wb") as disk:
        disk.truncate(gib << 30)
    output("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0", file)
    device = output("losetup", "-f", "--show", "--direct-io=on", file)
    try:
        output("mount", device, place)
    finally:
        output("losetup", "-d", device)


class Images:
    def __init__(self, scratch, cgroup, cache, quick, steps, without, results, own_disk=True):
        self.scratch = scratch / "images"
        self.scratch.mkdir()
        if own_disk:
            mount_disk(scratch / "disk", self.scratch)
        self.cgroup, self.without, self.results = cgroup, without, results
        self.steps = set(steps or STEPS)
        self.rounds, self.repeats = (1, 2) if quick else (3, 3)
        self.cache = pathlib.Path(cache)
        self.archive, self.saved = self.cache / "debian-1.tar", self.scratch / "saved.tar"
        self.figures = results["images"] = {"rounds": self.rounds, "engines": {}, "floors": {}, "sizes": {}, "own_disk": own_disk}
        self.source = image_engines.Registry(self.scratch / "registry", 5000)
        self.target = image_engines.Registry(self.scratch / "target", 5001)
        self.engines, self.empty = {}, {}
        self.program = self.scratch / "image_floor"
        output("cc", "-O2", "-o", self.program, HERE / "image_floor.c", "-lisal")

    # --- before

    def fill_registry(self):
        self.source.start()
        self.target.start()
        for name in ("debian:1", "layers:1", "layers:2"):
            output("skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", "--format", "v2s2",
                   f"oci:{self.cache}/oci:{name}", f"docker://{REMOTE}/{name}", timeout=300)  # fmt: skip

    def bring_up(self):
        for kind in (image_engines.Corten, image_engines.Docker, image_engines.Podman, image_engines.Containerd):
            if kind.name.lower() in self.without:
                continue
            engine = kind(self.scratch, self.cgroup)
            try:
                engine.start() if hasattr(engine, "start") else engine.prepare()
                self.results["versions"][engine.name] = engine.version()
                self.engines[engine.name] = engine
                self.figures["engines"][engine.name] = {}
            except (Failed, OSError) as error:
                self.results["unmeasured"][f"images with {engine.name}"] = str(error)
                say(f"{engine.name} is not measured: {error}")

    def floors(self):
        facts = json.loads((self.cache / "facts.json").read_text())
        blobs = [str(self.cache / "oci/blobs/sha256" / layer["digest"].removeprefix("sha256:")) for layer in facts["layers"]]
        sizes = self.figures["sizes"]
        sizes["tar"] = sum(layer["tar_bytes"] for layer in facts["layers"])
        sizes["gzip"] = sum(layer["gzip_bytes"] for layer in facts["layers"])
        image_engines.warm_tree(self.cache / "oci")
        floors = self.figures["floors"]
        one = self.scratch / "one-file"
        for name, words in {"inflate": ["inflate"], "inflate and write one file": ["write", one]}.items():
            floors[name] = [self.reader(*words, *blobs) for _ in range(self.repeats)]
        one.unlink()
        self.tree = self.scratch / "tree"
        floors["tar xz into one tree"] = [sum(self.unpack(blob, self.tree) for blob in blobs)]
        quiet()
        apart = self.scratch / "layers"
        for number, blob in enumerate(blobs):
            self.unpack(blob, apart / str(number))
        quiet()
        sizes["unpacked"] = image_engines.allocated(apart)
        output("rm", "-rf", apart)

    def unpack(self, blob, folder):
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        output("tar", "-C", folder, "--exclude=.wh.*", "--numeric-owner", "-xpzf", blob, timeout=300)
        return time.monotonic() - begin

    def reader(self, *words):
        return float(output(self.program, *words, timeout=300).split()[0])

    def read_all(self, place):
        """Seconds to read all files below `place`; Failed where they are not the image's."""
        output(self.program, "read", "/proc/self/fdinfo")  # its own pages are not part of it
        seconds, _, size = output(self.program, "read", place, timeout=300).split()
        whole = self.figures["sizes"].setdefault("read", int(size))
        if abs(int(size) - whole) > whole // 100:
            raise Failed(f"{place} has {size} bytes in its files, {whole} are expected")
        return float(seconds)

    # --- steps

    def note(self, engine, step, value):
        self.figures["engines"][engine.name].setdefault(step, []).append(value)

    def step(self, engine, step, command):
        """Measures one command of the engine's."""
        quiet()
        seconds, memory = timed(command)
        self.note(engine, step, seconds)
        return memory

    def pull(self, engine):
        name = f"{REMOTE}/debian:1"
        quiet()
        before = self.empty[engine.name] = engine.stored()
        self.source.warm()
        engine.reset_peak()
        worked = self.source.seconds()
        memory = self.step(engine, "pull", engine.pull(name))
        self.note(engine, "registry_seconds", self.source.seconds() - worked)
        peak = engine.peak_bytes()
        self.note(engine, "pull_peak", memory if peak is None else peak)
        if (first := engine.first_run(name)) is not None:
            self.note(engine, "first_run", timed(first)[0])
        quiet()
        self.note(engine, "stored", engine.stored() - before)

    def layers(self, engine):
        """A 50th layer that changed. What is below it is there."""
        timed(engine.pull(f"{REMOTE}/layers:1"))
        for _ in range(self.repeats):
            self.step(engine, "one_of_50", engine.pull(f"{REMOTE}/layers:2"))
            timed(engine.remove(f"{REMOTE}/layers:2"))
        timed(engine.remove(f"{REMOTE}/layers:1"))

    def save(self, engine):
        self.step(engine, "save", engine.save(self.saved, f"{REMOTE}/debian:1"))

    def remove(self, engine, name):
        """The client's time, and the time until the disk has its space back: Corten deletes after it has answered."""
        quiet()
        begin = time.monotonic()
        self.note(engine, "remove", timed(engine.remove(name))[0])
        while engine.stored() > self.empty[engine.name] + (8 << 20):
            if time.monotonic() - begin > 60:
                raise Failed(f"{engine.name} has not given back the space of {name} after a minute")
            time.sleep(0.01)
        self.note(engine, "space_back", time.monotonic() - begin)

    def load(self, engine):
        image_engines.warm_tree(self.archive.parent)
        self.step(engine, "load", engine.load(self.archive))

    def push(self, engine, step, name):
        """To a registry that has none of it."""
        remote = f"{TARGET}/debian:1"
        timed(engine.tag(name, remote))
        self.target.fresh()
        self.step(engine, step, engine.push(remote))
        timed(engine.remove(remote))

    def round(self, engine):
        """An engine's whole turn. It begins and ends without the image."""
        pulled = f"{REMOTE}/debian:1"
        self.pull(engine)
        if "layers" in self.steps:
            self.layers(engine)
        if "save" in self.steps:
            self.save(engine)
        if "push" in self.steps and engine.name in ("Corten", "containerd"):
            self.push(engine, "push_pulled", pulled)
        self.remove(engine, pulled)
        if "load" in self.steps and engine.name == "Corten" and self.saved.exists():
            self.step(engine, "load_own", engine.load(self.saved))
            timed(engine.remove(pulled))
        self.saved.unlink(missing_ok=True)
        if "load" in self.steps and engine.name != "containerd":
            self.load(engine)
            if "push" in self.steps:
                self.push(engine, "push", LOADED)
            timed(engine.remove(LOADED))

    def cold(self):
        """All files read through a container's mount and from a tree on the same file system, nothing cached.

        As after a reboot: the daemon starts, a container starts, all its files are read. Only the reading is timed, the start beside it.
        """
        name = f"{REMOTE}/debian:1"
        holders = [self.engines[engine] for engine in ("Corten", "Docker") if engine in self.engines]
        cold = self.figures["cold"] = {"tree": [], **{engine.name: [] for engine in holders}}
        for engine in holders:
            timed(engine.pull(name))
        for _ in range(self.repeats):
            forget()
            cold["tree"].append(self.read_all(self.tree))
            for engine in holders:
                engine.stop()
                forget()
                engine.start()
                self.note(engine, "cold_start", timed(engine.command("run", "-d", "--network", "none", "--name", "holder", name, "sleep", "1000"))[0])
                cold[engine.name].append(self.read_all(engine.root_of("holder")))
                engine.call("rm", *engine.force, "holder")
        for engine in holders:
            timed(engine.remove(name))

    def measure(self):
        self.fill_registry()
        self.bring_up()
        self.floors()
        for number in range(self.rounds):
            names = list(self.engines)
            names = names[number % len(names):] + names[: number % len(names)]
            for name in names if number == 0 else [name for name in names if name in ("Corten", "Docker")]:
                if not self.guarded(f"images with {name}", lambda: self.round(self.engines[name])):
                    self.clear(self.engines[name])
        if "cold" in self.steps:
            self.guarded("cold read", self.cold)
        for engine in self.engines.values():
            engine.stop()
        self.source.stop()
        self.target.stop()

    def guarded(self, what, work):
        begin = time.monotonic()
        try:
            work()
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            self.results["unmeasured"][what] = str(error)
            say(f"{what} failed: {error}")
            return False
        say(f"{what}: {time.monotonic() - begin:.0f} s")
        return True

    def clear(self, engine):
        """After a step that failed the next round begins without images all the same."""
        self.saved.unlink(missing_ok=True)
        for name in (f"{REMOTE}/debian:1", f"{REMOTE}/layers:1", f"{REMOTE}/layers:2", f"{TARGET}/debian:1", LOADED):
            try:
                timed(engine.remove(name))
            except Failed:
                continue


def make(cache):
    """The folder of the images, made on first use; why there is none otherwise."""
    say("the images to move are looked for, and made if this is the first time (two minutes, from the Debian mirror)")
    try:
        return output(HERE / "make-image", "--cache", cache, timeout=1800)
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        return Failed(str(error))
