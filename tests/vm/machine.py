"""The virtual machine: what it boots from, how it is started, how its power is cut.

Everything comes from Debian's packages and from build/bin and lies in build/vm afterwards: the kernel of
`linux-image-cloud-amd64` (unpacked, never installed), an initramfs that only finds the root disk, and a root image with
busybox, our programs with the libraries they load, and the scripts of guest/.
"""

import os
import pathlib
import re
import selectors
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "vm"
BIN = pathlib.Path(os.environ.get("CORTEN_BIN", ROOT / "build" / "bin"))

TESTS = pathlib.Path(os.environ.get("CORTEN_TESTS", BIN.parent / "tests"))

PROGRAMS = ["corten", "cortend", "corten-shim", "corten-init", "corten-runtime"]
UNIT_TESTS = ["snapshots_contract_test"]
TOOLS = ["mke2fs", "ip", "tar", "curl", "jq", "mount", "umount", "stat", "find"]
# What the root disk needs before its own modules can be read.
EARLY_MODULES = ["virtio_pci", "virtio_blk"]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, **options)


def output(*command):
    return run(*command, capture_output=True, text=True).stdout


def fetch_kernel():
    """Unpacks the kernel package, whatever the archive's newest is when there is none yet."""
    kernel = BUILD / "kernel"
    if not list(kernel.glob("boot/vmlinuz-*")):
        depends = output("apt-cache", "depends", "linux-image-cloud-amd64")
        found = re.search(r"Depends: (linux-image-\S+)", depends)
        if not found:
            sys.exit("vm: the package lists have no linux-image-cloud-amd64; run apt-get update")
        shutil.rmtree(kernel, ignore_errors=True)
        downloads = BUILD / "download"
        downloads.mkdir(parents=True, exist_ok=True)
        run("apt-get", "download", "-q", found.group(1), cwd=downloads, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run("dpkg", "-x", next(downloads.glob("linux-image-*.deb")), kernel)
        shutil.rmtree(downloads)
    image = next(kernel.glob("boot/vmlinuz-*"))
    return image, image.name.removeprefix("vmlinuz-")


def libraries(program):
    """The shared objects that a program loads, by path. None for a static one."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return [path for path in re.findall(r"(?:=> )?(/\S+) \(0x", text)]


def put(source, root, target=None):
    """Copies a file to its own place below `root` (or to `target`), with the libraries it loads."""
    place = root / str(target or source).lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        shutil.copy2(source, place)
    for library in libraries(source):
        real = root / library.lstrip("/")
        if not real.exists():
            real.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, real)


def put_busybox(root):
    (root / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy2("/bin/busybox", root / "bin" / "busybox")
    for applet in output("/bin/busybox", "--list").split():
        link = root / "bin" / applet
        if applet != "busybox" and not link.exists():
            link.symlink_to("/bin/busybox")


def make_root(version):
    """The root image, from scratch; a few seconds."""
    root = BUILD / "root"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("proc", "sys", "dev", "run", "tmp", "etc", "root", "var/lib", "data", "usr/bin", "usr/lib", "lib64"):
        (root / name).mkdir(parents=True)
    # Merged as in Debian: a program's libraries are found by either name.
    for name in ("bin", "lib", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "usr/sbin").symlink_to("bin")
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            put(os.path.realpath(found), root, f"/usr/bin/{tool}")
    # Busybox's shell prefers its own applets to the programs above.
    put("/bin/dash", root, "/usr/bin/sh")
    put_busybox(root)
    for program in PROGRAMS:
        put(BIN / program, root, f"/usr/bin/{program}")
        run("strip", root / "usr/bin" / program)
    for test in UNIT_TESTS:
        if (TESTS / test).exists():
            put(TESTS / test, root, f"/tests/{test}")
            run("strip", root / "tests" / test)
    shutil.copytree(BUILD / "kernel/lib/modules" / version, root / "usr/lib/modules" / version)
    run("depmod", "-b", root / "usr", version)
    shutil.copytree(HERE / "guest", root / "tests/vm")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
                                     "dockremap:x:900:900::/:/bin/false\n")  # fmt: skip
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\ndockremap:x:900:\n")
    (root / "etc/subuid").write_text("dockremap:100000:65536\n")
    (root / "etc/subgid").write_text("dockremap:100000:65536\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    image = BUILD / "root.img"
    image.unlink(missing_ok=True)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d", root, image, "768M", stdout=subprocess.DEVNULL)
    return image


def make_initramfs(version):
    root = BUILD / "initramfs"
    shutil.rmtree(root, ignore_errors=True)
    for name in ("proc", "sys", "dev", "new"):
        (root / name).mkdir(parents=True)
    put_busybox(root)
    modules = BUILD / "kernel/lib/modules" / version
    run("depmod", "-b", BUILD / "kernel", version)
    wanted = []
    for name in EARLY_MODULES:
        for line in output("modprobe", "-d", BUILD / "kernel", "-S", version, "--show-depends", name).splitlines():
            if line.startswith("insmod"):
                path = pathlib.Path(line.split()[1])
                if path not in wanted:
                    wanted.append(path)
    for number, path in enumerate(wanted):
        shutil.copy2(modules / path.relative_to(modules), root / f"{number:02}.ko")
    shutil.copy2(HERE / "guest/init-early", root / "init")
    names = b"\0".join(str(path.relative_to(root)).encode() for path in sorted(root.rglob("*")))
    image = BUILD / "initramfs.cpio"
    with open(image, "wb") as file:
        run("cpio", "--null", "--quiet", "-o", "-H", "newc", cwd=root, input=names, stdout=file)
    return image


class PowerIsOff(Exception):
    """The machine is gone: it switched itself off, or somebody cut the power."""


class Machine:
    """One boot. Lines that the guest writes to its second serial port come out of line(); the first is its console."""

    def __init__(self, kernel, initramfs, image, test, disk, log, arguments=(), cache="unsafe"):
        drives = [
            "-drive", f"file={image},format=raw,if=none,id=root,snapshot=on,cache=unsafe",
            "-device", "virtio-blk-pci,drive=root",
            # The guest sees a write cache. With cache=none its flushes come out, and only they promise anything.
            "-drive", f"file={disk},format=raw,if=none,id=data,cache={cache}",
            "-device", "virtio-blk-pci,drive=data,logical_block_size=4096,physical_block_size=4096,write-cache=on",
        ]  # fmt: skip
        self.started = time.monotonic()
        self.log = pathlib.Path(log)
        self.log.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", "1024",
             "-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(kernel), "-initrd", str(initramfs),
             "-append", " ".join(["console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off", f"corten.test={test}", *arguments]),
             "-serial", f"file:{log}", "-serial", "stdio", "-device", "virtio-rng-pci", *drives],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        self.rest = b""
        self.cut = False

    def line(self, deadline):
        """The next line, or None when `deadline` (monotonic) has passed. Raises PowerIsOff at the end."""
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            # What a dead emulator had written is there to be read, however late it is.
            if not self.cut and (left <= 0 or not self.selector.select(left)):
                return None
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise PowerIsOff
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode(errors="replace").rstrip("\r")

    def cut_power(self):
        """SIGKILL. What the guest had said before is still read by line()."""
        self.process.kill()
        self.process.wait()
        self.cut = True

    def close(self):
        self.cut_power()
        self.selector.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def prepare():
    """Kernel, initramfs, root image: what Machine boots from."""
    BUILD.mkdir(parents=True, exist_ok=True)
    kernel, version = fetch_kernel()
    return kernel, make_initramfs(version), make_root(version), version
