"""Images for other machines: which of an index is taken, what is said of one that does not suit, and running them through
the kernel's binfmt_misc with qemu-user."""

import io
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import urllib.request

import pytest
from registries import repository_name

EMULATOR = "/usr/bin/qemu-aarch64-static"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def program(machine, code, big_endian=False):
    """A static 64-bit program: nothing but `code`."""
    order = ">" if big_endian else "<"
    size = 64 + 56 + len(code)
    head = b"\x7fELF" + bytes([2, 2 if big_endian else 1, 1]) + bytes(9)
    head += struct.pack(order + "HHIQQQIHHHHHH", 2, machine, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack(order + "IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, size, size, 0x1000) + code


def arm64_program():
    """Writes the machine's name, as uname has it, and ends with 7."""
    words = [
        0xD10803FF,  # sub sp, sp, #512
        0x910003E0,  # mov x0, sp
        0xD2801408,  # mov x8, #160        uname
        0xD4000001,  # svc #0
        0xD2800020,  # mov x0, #1
        0x910413E1,  # add x1, sp, #260    struct utsname, machine
        0xD28000E2,  # mov x2, #7
        0xD2800808,  # mov x8, #64         write
        0xD4000001,  # svc #0
        0xD28000E0,  # mov x0, #7
        0xD2800BA8,  # mov x8, #93         exit
        0xD4000001,  # svc #0
    ]
    return program(183, b"".join(struct.pack("<I", word) for word in words))


def rootfs(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def make(cli, name, platform, files=None):
    """An image for a platform; its id."""
    files = files or {"which": platform.encode(), "machine": arm64_program()}
    return cli("import", "--platform", platform, "-c", 'CMD ["/machine"]', "-", name, input=rootfs(files), text=False)


class Emulator:
    """qemu-user for arm64 in the kernel's table, while this lives: the table forgets it with the last mount of its own,
    so nothing is left behind and nobody else's registration is touched."""

    MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"

    def __init__(self, flags="F", enabled=True):
        self.name = f"corten-test-{os.getpid()}"
        table = "/proc/sys/fs/binfmt_misc"
        script = (
            f'mount -t binfmt_misc none {table} && printf %s "$1" > {table}/register && '
            f"{'true' if enabled else f'echo 0 > {table}/{self.name}'} && echo ready && read end; "
            f"echo -1 > {table}/{self.name}; umount {table}"
        )
        line = f":{self.name}:M::{self.MAGIC}:{self.MASK}:{EMULATOR}:{flags}"
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script, "sh", line],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self.process.stdout.readline() != "ready\n":
            self.close()
            pytest.skip(f"no emulator can be registered: {self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def registered(architecture):
    return any(architecture in path.name for path in pathlib.Path("/proc/sys/fs/binfmt_misc").glob("*"))


needs_emulator = pytest.mark.skipif(
    not pathlib.Path(EMULATOR).exists() or registered("aarch64"), reason="needs qemu-user-static, not registered"
)


@pytest.fixture
def index(registry, daemon, tmp_path):
    """The name of an image for several platforms in the registry. Each has /which, with its platform's name."""
    cli = daemon.corten
    name = repository_name(tmp_path, "multi")
    entries = []

    def add(platform, files=None):
        tag = platform.replace("/", "-")
        full = f"{registry.address}/{name}:{tag}"
        if platform == "linux/amd64":
            cli("tag", "busybox", full)
        else:
            make(cli, full, platform, files)
        cli("push", "-q", full)
        cli("rmi", full)
        digest, _ = registry.manifest(name, tag)
        system, architecture, *variant = platform.split("/")
        with registry.get(f"/v2/{name}/manifests/{tag}", MANIFEST) as answer:
            size = len(answer.read())
        described = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        entries.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": described})
        text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"http://{registry.address}/v2/{name}/manifests/all", data=text, method="PUT",
                                   headers={"Content-Type": INDEX})
        ).close()  # fmt: skip

    for platform in "linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/arm64", "linux/amd64":
        add(platform)
    return f"{registry.address}/{name}:all"


def platform_of(cli, name):
    return cli("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}/{{.Variant}}", name).rstrip("/")


def test_the_nearest_of_an_index_is_pulled(index, cli):
    for asked, got in [
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/aarch64", "linux/arm64"),
        ("amd64", "linux/amd64"),
        (None, "linux/amd64"),
    ]:
        cli("pull", "-q", *(["--platform", asked] if asked else []), index)
        assert platform_of(cli, index) == got, asked
    cli("pull", "-q", index, env={"DOCKER_DEFAULT_PLATFORM": "linux/arm64"})
    assert platform_of(cli, index) == "linux/arm64"
    assert "no matching manifest for linux/s390x in the manifest list entries" in cli.fails(
        "pull", "--platform", "linux/s390x", index
    )
    assert "no matching manifest for linux/arm/v4 in the manifest list entries" in cli.fails(
        "pull", "--platform", "linux/arm/v4", index
    )


def test_a_platform_that_is_none(cli):
    for command in (["run"], ["create"]):
        assert '"foo": unknown operating system or architecture: invalid argument' in cli.fails(
            *command, "--platform", "foo", "busybox", code=125 if command == ["run"] else None
        )
    assert '"foo": unknown operating system or architecture: invalid argument' in cli.fails(
        "pull", "--platform", "foo", "busybox"
    )
    assert "cannot parse platform specifier" in cli.fails("pull", "--platform", "a/b/c/d", "busybox")
    assert "unknown operating system or architecture" in cli.fails(
        "create", "busybox", env={"DOCKER_DEFAULT_PLATFORM": "foo"}
    )


def test_one_platform_is_asked_about(daemon, cli):
    """An image has one: of another one there is nothing to show, and nothing is removed."""
    image = make(daemon.corten, "foreign", "linux/arm64/v8").decode().strip()
    other = (
        "image with reference foreign was found but its platform (linux/arm64/v8) does not match the specified platform "
        "(linux/amd64)"
    )
    commands = (("image", "inspect", "-f", "{{.Id}}"), ("history", "--no-trunc", "-q"), ("rmi",))
    for command in commands:
        assert other in cli.fails(*command, "--platform", "linux/amd64", "foreign")
        assert '"foo": unknown operating system or architecture' in cli.fails(*command, "--platform", "foo", "foreign")
    assert cli(*commands[0], "--platform", "linux/arm64", "foreign") == image
    assert cli(*commands[1], "--platform", "linux/arm64", "foreign") == image
    assert image in cli("rmi", "--platform", "linux/arm64", "foreign")
    assert "No such image" in cli.fails("rmi", "--platform", "linux/arm64", "foreign")


def test_an_image_that_is_here_for_another_machine(index, cli):
    cli("pull", "-q", "--platform", "linux/arm64", index)
    # Asked for by its platform, it is what was asked for; else there is a warning.
    created = cli.run("create", "--platform", "linux/arm64", index)
    assert created.code == 0 and created.err == ""
    created = cli.run("create", index)
    assert created.code == 0
    assert created.err.startswith(
        "WARNING: The requested image's platform (linux/arm64) does not match the detected host platform (linux/"
    )
    assert created.err.endswith(") and no specific platform was requested\n")
    # For another platform than it has the client pulls, and the name moves.
    refused = cli.fails("create", "--pull", "never", "--platform", "linux/amd64", index)
    assert (
        f"image with reference {index} was found but its platform (linux/arm64) does not match the specified platform "
        "(linux/amd64)" in refused
    )
    ran = cli.run("run", "--rm", "--platform", "linux/amd64", index, "uname", "-m")
    assert ran.code == 0 and ran.out == os.uname().machine + "\n"
    assert f"Unable to find image '{index}' locally" in ran.err
    assert platform_of(cli, index) == "linux/amd64"


def test_an_image_that_exists_for_one_machine_only(registry, index, cli):
    """Docker takes it all the same, and says so; it is not run where another platform was asked for."""
    single = index.rsplit(":", 1)[0] + ":linux-arm64"
    said = cli("pull", "--platform", "linux/s390x", single)
    assert (
        "WARNING: Pulled image with specified platform (linux/s390x), but the resulting image's configured platform "
        "(linux/arm64) does not match." in said
    )
    assert platform_of(cli, single) == "linux/arm64"
    assert "does not match the specified platform (linux/s390x)" in cli.fails("run", "--platform", "linux/s390x", single)


def test_without_an_emulator_the_error_says_so(daemon, cli):
    if registered("s390x"):
        pytest.skip("this machine runs programs for s390x")
    make(daemon.corten, "foreign", "linux/s390x", {"machine": program(22, b"\0" * 16, big_endian=True)})
    error = cli.fails("run", "--rm", "foreign", code=126 if cli is daemon.corten else 125)
    assert "exec /machine: exec format error: the image is for linux/s390x, this machine is linux/" in error
    assert "no emulator for s390x is registered with the kernel: install qemu-user-static" in error
    assert "exec format error" in cli.fails("run", "--rm", "--platform", "linux/s390x", "foreign")
    # Of an image for this machine nothing is said that could mislead.
    make(daemon.corten, "own", "linux/amd64", {"machine": b"no program"})
    assert cli.fails("run", "--rm", "own").split("exec /machine: ")[1].startswith("exec format error: unknown")


@needs_emulator
def test_programs_run_through_the_emulator(daemon, cli):
    make(daemon.corten, "foreign", "linux/arm64")
    assert "no emulator for arm64" in cli.fails("run", "--rm", "--platform", "linux/arm64", "foreign")
    with Emulator():
        ran = cli.run("run", "--rm", "--platform", "linux/arm64", "foreign")
        assert (ran.code, ran.out, ran.err) == (7, "aarch64", "")
        ran = cli.run("run", "--rm", "foreign")
        assert (ran.code, ran.out) == (7, "aarch64") and ran.err.startswith("WARNING: The requested image's platform")
        # With all that confines a container, and with an init for this machine.
        ran = cli.run("run", "--rm", "--platform", "linux/arm64", "--read-only", "--cap-drop", "ALL", "--user", "1000",
                      "--security-opt", "no-new-privileges", "--init", "-m", "64m", "foreign")  # fmt: skip
        assert (ran.code, ran.out) == (7, "aarch64")
        # An emulator is there, so what is no program has nobody else to blame.
        make(daemon.corten, "script", "linux/arm64", {"machine": b"echo no first line"})
        refused = cli.fails("run", "--rm", "--platform", "linux/arm64", "script")
        assert refused.split("exec /machine: ")[1].startswith("exec format error: unknown")
        cli("create", "--name", "kept", "--platform", "linux/arm64", "foreign")
        cli("start", "-a", "kept", code=7)
        assert cli("logs", "kept") == "aarch64"
        cli("commit", "kept", "committed")
        assert platform_of(cli, "committed") == "linux/arm64"
        cli("run", "--rm", "--platform", "linux/arm64", "committed", code=7)
        cli("rm", "kept")


@needs_emulator
def test_exec_runs_through_the_emulator(daemon, cli):
    """A container for this machine with a foreign program in it, so that something keeps running."""
    daemon.corten("run", "-d", "--name", "host", "busybox", "sleep", "1000")
    (daemon.base / "machine").write_bytes(arm64_program())
    (daemon.base / "machine").chmod(0o755)
    daemon.corten("cp", str(daemon.base / "machine"), "host:/machine")
    with Emulator():
        ran = cli.run("exec", "host", "/machine")
        assert (ran.code, ran.out) == (7, "aarch64")
    assert "exec format error" in (ran := cli.run("exec", "host", "/machine")).err + ran.out and ran.code == 126


@needs_emulator
def test_what_keeps_an_emulator_from_running_is_said(daemon, corten):
    make(corten, "foreign", "linux/arm64")
    arguments = ("run", "--rm", "--platform", "linux/arm64", "foreign")
    with Emulator(enabled=False) as emulator:
        error = corten.fails(*arguments, code=126)
        assert f"its emulator {EMULATOR} is switched off (echo 1 > /proc/sys/fs/binfmt_misc/{emulator.name})" in error
    with Emulator(flags=""):
        error = corten.fails(*arguments, code=127)
        assert f"its emulator {EMULATOR} is registered without the flag F" in error
        # In the container it does.
        files = {"machine": arm64_program(), EMULATOR[1:]: pathlib.Path(EMULATOR).read_bytes()}
        make(corten, "equipped", "linux/arm64", files)
        assert corten.run("run", "--rm", "--platform", "linux/arm64", "equipped").out == "aarch64"


def test_the_platform_stays_with_the_image(daemon, cli, tmp_path):
    make(daemon.corten, "foreign:1", "linux/arm/v6")
    assert platform_of(cli, "foreign:1") == "linux/arm/v6"
    cli("save", "-o", str(tmp_path / "saved.tar"), "foreign:1")
    cli("rmi", "foreign:1")
    assert "Loaded image: foreign:1" in cli("load", "-i", str(tmp_path / "saved.tar"))
    assert platform_of(cli, "foreign:1") == "linux/arm/v6"
    container = cli("create", "--platform", "linux/arm/v6", "foreign:1")
    cli("commit", container, "foreign:2")
    assert platform_of(cli, "foreign:2") == "linux/arm/v6"
    if shutil.which("skopeo"):
        text = subprocess.run(
            ["skopeo", "inspect", "--override-os=linux", "--override-arch=arm", "--config", f"docker-archive:{tmp_path}/saved.tar"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert json.loads(text)["architecture"] == "arm" and json.loads(text)["variant"] == "v6"
