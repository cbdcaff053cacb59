"""Builds that must fail: the message names file, line, instruction and reason and shows the lines; nothing is left.

The table's last column is what the message must contain; the first word of it, "Dockerfile:N", is where.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import tempfile

import pytest
from build_harness import File, Folder, Link, Tar, base_archive, left_by_builds, write_tree
from conftest import Daemon, wait_until


@dataclasses.dataclass
class Wrong:
    name: str
    dockerfile: str
    says: tuple
    files: dict = dataclasses.field(default_factory=dict)
    flags: tuple = ()


SYNTAX = [
    Wrong("unknown-instruction", "FROM base\nRNU echo hello\n", ("Dockerfile:2", "RNU", "RUN")),
    Wrong("unknown-after-continuation", "FROM base\nRUN a \\\n  b\n\n# c\nCPOY x /\n", ("Dockerfile:6", "CPOY", "COPY")),
    Wrong("empty", "", ("Dockerfile", "empty")),
    Wrong("only-comments", "# nothing\n\n", ("Dockerfile",)),
    Wrong("no-from", "RUN true\n", ("Dockerfile:1", "RUN", "FROM")),
    Wrong("only-arg", "ARG A=1\n", ("Dockerfile", "FROM")),
    Wrong("from-nothing", "FROM\n", ("Dockerfile:1", "FROM")),
    Wrong("from-too-much", "FROM base is what\n", ("Dockerfile:1", "FROM")),
    Wrong("from-bad-name", "FROM base AS 1a\n", ("Dockerfile:1", "FROM", "1a")),
    Wrong("from-bad-reference", "FROM BASE/../x\n", ("Dockerfile:1", "FROM")),
    Wrong("from-unset-argument", "FROM $NOTHING\n", ("Dockerfile:1", "FROM", "NOTHING")),
    Wrong("from-bad-platform", "FROM --platform=a/b/c/d base\n", ("Dockerfile:1", "FROM", "a/b/c/d")),
    Wrong("from-unknown-flag", "FROM --plattform=linux/amd64 base\n", ("Dockerfile:1", "FROM", "--plattform", "--platform")),
    Wrong("run-nothing", "FROM base\nRUN\n", ("Dockerfile:2", "RUN")),
    Wrong("run-unknown-flag", "FROM base\nRUN --mont=type=cache,target=/c true\n", ("Dockerfile:2", "RUN", "--mont", "--mount")),
    Wrong("run-unknown-mount", "FROM base\nRUN --mount=type=cash,target=/c true\n", ("Dockerfile:2", "RUN", "cash")),
    Wrong("run-mount-field", "FROM base\nRUN --mount=type=cache,taget=/c true\n", ("Dockerfile:2", "RUN", "taget")),
    Wrong("run-mount-no-target", "FROM base\nRUN --mount=type=tmpfs true\n", ("Dockerfile:2", "RUN", "target")),
    Wrong("run-network", "FROM base\nRUN --network=everything true\n", ("Dockerfile:2", "RUN", "everything")),
    Wrong("run-security", "FROM base\nRUN --security=lax true\n", ("Dockerfile:2", "RUN", "lax")),
    Wrong("heredoc-open", "FROM base\nRUN <<EOF\necho\n", ("Dockerfile:2", "EOF")),
    Wrong("copy-one-word", "FROM base\nCOPY x\n", ("Dockerfile:2", "COPY")),
    Wrong("copy-unknown-flag", "FROM base\nCOPY --form=x a b\n", ("Dockerfile:2", "COPY", "--form", "--from")),
    Wrong("copy-add-flag", "FROM base\nCOPY --checksum=sha256:aa a b\n", ("Dockerfile:2", "COPY", "--checksum")),
    Wrong("copy-many-to-file", "FROM base\nCOPY a b /c\n", ("Dockerfile:2", "COPY", "/")),
    Wrong("copy-chmod-bad", "FROM base\nCOPY --chmod=99 Dockerfile /d\n", ("Dockerfile:2", "COPY", "99")),
    Wrong("env-no-value", "FROM base\nENV A\n", ("Dockerfile:2", "ENV")),
    Wrong("env-mixed", "FROM base\nENV A=1 B\n", ("Dockerfile:2", "ENV", "B")),
    Wrong("env-open-brace", "FROM base\nENV A=${B\n", ("Dockerfile:2", "ENV")),
    Wrong("env-open-quote", "FROM base\nENV A=\"b\n", ("Dockerfile:2", "ENV")),
    Wrong("env-bad-modifier", "FROM base\nENV A=${B:&c}\n", ("Dockerfile:2", "ENV")),
    Wrong("env-required", "FROM base\nARG V\nENV A=${V:?say which}\n", ("Dockerfile:3", "ENV", "V", "say which")),
    Wrong("label-nothing", "FROM base\nLABEL\n", ("Dockerfile:2", "LABEL")),
    Wrong("expose-bad", "FROM base\nEXPOSE eighty\n", ("Dockerfile:2", "EXPOSE", "eighty")),
    Wrong("expose-protocol", "FROM base\nEXPOSE 80/xyz\n", ("Dockerfile:2", "EXPOSE", "xyz")),
    Wrong("expose-too-high", "FROM base\nEXPOSE 70000\n", ("Dockerfile:2", "EXPOSE", "70000")),
    Wrong("workdir-nothing", "FROM base\nWORKDIR\n", ("Dockerfile:2", "WORKDIR")),
    Wrong("user-two", "FROM base\nUSER a b\n", ("Dockerfile:2", "USER")),
    Wrong("volume-empty", "FROM base\nVOLUME [\"\"]\n", ("Dockerfile:2", "VOLUME")),
    Wrong("shell-not-json", "FROM base\nSHELL /bin/sh -c\n", ("Dockerfile:2", "SHELL", "JSON")),
    Wrong("stopsignal-unknown", "FROM base\nSTOPSIGNAL SIGNONSENSE\n", ("Dockerfile:2", "STOPSIGNAL", "SIGNONSENSE")),
    Wrong("healthcheck-unknown", "FROM base\nHEALTHCHECK SOMETIMES x\n", ("Dockerfile:2", "HEALTHCHECK", "SOMETIMES")),
    Wrong("healthcheck-duration", "FROM base\nHEALTHCHECK --interval=soon CMD true\n", ("Dockerfile:2", "HEALTHCHECK", "soon")),
    Wrong("onbuild-onbuild", "FROM base\nONBUILD ONBUILD RUN true\n", ("Dockerfile:2", "ONBUILD")),
    Wrong("onbuild-from", "FROM base\nONBUILD FROM x\n", ("Dockerfile:2", "ONBUILD", "FROM")),
    Wrong("onbuild-broken", "FROM base\nONBUILD RNU x\n", ("Dockerfile:2", "ONBUILD", "RNU")),
    Wrong("escape-directive", "# escape=x\nFROM base\n", ("Dockerfile:1", "escape")),
    Wrong("control-characters", "FROM base\n\x1b[31mRUN true\n", ("Dockerfile:2",)),
]  # fmt: skip

STAGES = [
    Wrong("stage-of-itself", "FROM base AS a\nCOPY --from=a /etc/old /x\n", ("Dockerfile:2", "COPY", "a")),
    Wrong("stage-later", "FROM base AS a\nCOPY --from=b /etc/old /x\nFROM base AS b\n", ("Dockerfile:2", "COPY", "b"), flags=("--target", "a")),
    Wrong("stage-cycle", "FROM b AS a\nRUN true\nFROM a AS b\n", ("Dockerfile:1", "FROM", "b")),
    Wrong("stage-twice", "FROM base AS a\nFROM base AS a\n", ("Dockerfile:2", "FROM", "a")),
    Wrong("stage-number", "FROM base\nCOPY --from=7 /x /x\n", ("Dockerfile:2", "COPY", "7")),
    Wrong("target-unknown", "FROM base AS builder\n", ("buidler", "builder"), flags=("--target", "buidler")),
    Wrong("image-unknown", "FROM localhost:1/no/such:image\n", ("Dockerfile:1", "FROM", "localhost:1/no/such:image")),
    Wrong("mount-from-later", "FROM base AS a\nRUN --mount=from=b,target=/b true\nFROM base AS b\n", ("Dockerfile:2", "RUN", "b"), flags=("--target", "a")),
]  # fmt: skip

FILES = [
    Wrong("missing-file", "FROM base\nCOPY reamde.md /\n", ("Dockerfile:2", "COPY", "reamde.md", "readme.md"), {"readme.md": "x"}),
    Wrong("missing-folder-file", "FROM base\nCOPY src/mian.c /\n", ("Dockerfile:2", "COPY", "src/mian.c", "src/main.c"), {"src/main.c": "x"}),
    Wrong("missing-pattern", "FROM base\nCOPY *.nope /\n", ("Dockerfile:2", "COPY", "*.nope"), {"x": ""}),
    Wrong("missing-ignored", "FROM base\nCOPY secret.txt /\n", ("Dockerfile:2", "COPY", "secret.txt", "not found in build context"),
          {"secret.txt": "x", ".dockerignore": "secret*\n"}),
    Wrong("missing-in-stage", "FROM base AS s\nFROM base\nCOPY --from=s /etc/passwrd /\n", ("Dockerfile:3", "COPY", "/etc/passwrd", "/etc/passwd")),
    Wrong("outside", "FROM base\nCOPY ../outside /\n", ("Dockerfile:2", "COPY", "../outside")),
    Wrong("through-a-link", "FROM base\nCOPY out/passwd /stolen\n", ("Dockerfile:2", "COPY", "out/passwd"), {"out": Link("/etc")}),
    Wrong("link-to-outside", "FROM base\nCOPY out /stolen\n", ("Dockerfile:2", "COPY", "out"), {"out": Link("../../../../../../../etc/passwd")}),
    Wrong("bad-owner", "FROM base\nCOPY --chown=nosuchuser Dockerfile /d\n", ("Dockerfile:2", "COPY", "nosuchuser")),
    Wrong("file-over-folder", "FROM base\nRUN mkdir -p /x/sub\nCOPY d /x\n", ("Dockerfile:3", "COPY", "/x/sub"), {"d/sub": "x"}),
    Wrong("folder-below-file", "FROM base\nCOPY f /etc/old/f\n", ("Dockerfile:2", "COPY", "/etc/old"), {"f": "x"}),
    Wrong("archive-escapes", "FROM base\nADD a.tar /d/\n", ("Dockerfile:2", "ADD", "a.tar"), {"a.tar": Tar({"../../escaped": "x"})}),
    Wrong("archive-broken", "FROM base\nADD a.tar.gz /d/\n", ("Dockerfile:2", "ADD", "a.tar.gz"), {"a.tar.gz": Tar({"f": os.urandom(100_000)}, "gz").bytes()[:50_000]}),
    Wrong("no-dockerfile", "", ("Dockerfyle",), flags=("-f", "{context}/Dockerfyle")),
    Wrong("bind-missing", "FROM base\nRUN --mount=source=nothere,target=/x true\n", ("Dockerfile:2", "RUN", "nothere")),
    Wrong("secret-missing", "FROM base\nRUN --mount=type=secret,id=key,required=true true\n", ("Dockerfile:2", "RUN", "key")),
    Wrong("git-command", "FROM base\nADD git@x.example:--upload-pack=touch${IFS}/tmp/owned /d\n", ("Dockerfile:2", "ADD")),
    Wrong("remote-refused", "FROM base\nADD http://127.0.0.1:1/file /d\n", ("Dockerfile:2", "ADD", "127.0.0.1:1")),
    Wrong("remote-scheme", "FROM base\nADD --checksum=sha256:zz http://127.0.0.1:1/file /d\n", ("Dockerfile:2", "ADD", "checksum")),
]  # fmt: skip

COMMANDS = [
    Wrong("command-fails", "FROM base\nRUN echo before\nRUN echo told && exit 42\nRUN echo after\n", ("Dockerfile:3", "RUN", "42", "told")),
    Wrong("command-in-stage", "FROM base AS a\nRUN true && \\\n  false\nFROM base\nCOPY --from=a /x /x\n", ("Dockerfile:2", "RUN", "1")),
    Wrong("command-not-there", "FROM base\nRUN [\"/no/such/program\"]\n", ("Dockerfile:2", "RUN", "/no/such/program")),
    Wrong("shell-not-there", "FROM scratch\nRUN true\n", ("Dockerfile:2", "RUN", "/bin/sh")),
    Wrong("user-not-there", "FROM base\nUSER nosuchuser\nRUN true\n", ("Dockerfile:3", "RUN", "nosuchuser")),
    Wrong("command-killed", "FROM base\nRUN sh -c 'kill -9 $$'; exit $?\n", ("Dockerfile:2", "RUN", "137")),
    Wrong("onbuild-fails", "FROM trigger\n", ("Dockerfile:1", "exit 3")),
    Wrong("insecure-not-allowed", "FROM base\nRUN --security=insecure true\n", ("Dockerfile:2", "RUN", "insecure")),
    Wrong("host-network-not-allowed", "FROM base\nRUN --network=host true\n", ("Dockerfile:2", "RUN", "network.host")),
]  # fmt: skip

ALL = [*SYNTAX, *STAGES, *FILES, *COMMANDS]
BY_NAME = {wrong.name: wrong for wrong in ALL}
assert len(BY_NAME) == len(ALL)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    daemon = Daemon(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
    daemon.start()
    daemon.corten("load", "-i", base_archive(tmp_path_factory.mktemp("base")))
    folder = tmp_path_factory.mktemp("trigger")
    write_tree(folder, {"Dockerfile": "FROM base\nONBUILD RUN exit 3\n"})
    daemon.corten("build", "-t", "trigger", folder)
    yield daemon
    left = left_by_builds(daemon)
    daemon.clean()
    left += daemon.leaks()
    if not left:
        shutil.rmtree(daemon.base, ignore_errors=True)
    assert not left, "left behind:\n" + "\n".join(left)


def snapshots(daemon):
    """Layers and containers' changes on the disk."""
    return {path.name for path in (daemon.data_root / "snapshots").iterdir()}


def fails(daemon, wrong, folder):
    context = folder / "context"
    write_tree(context, {**wrong.files, **({"Dockerfile": wrong.dockerfile} if "no-dockerfile" != wrong.name else {})})
    flags = [flag.format(context=context) for flag in wrong.flags]
    return daemon.corten.fails("build", "-t", f"never/{wrong.name}", "--progress=plain", *flags, context)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_the_message_says_where_and_why(name, builder, tmp_path):
    wrong = BY_NAME[name]
    said = fails(builder, wrong, tmp_path)
    for needle in wrong.says:
        assert needle in said
    assert "\x1b" not in said and "internal error" not in said
    place = wrong.says[0]
    if ":" in place and place.startswith("Dockerfile:"):
        # The line itself is shown, and marked.
        line = wrong.dockerfile.splitlines()[int(place.split(":")[1]) - 1]
        marked = [shown for shown in said.splitlines() if ">>>" in shown]
        assert marked and line.strip().replace("\x1b", "") in marked[0].replace("\\x1b", "").replace("\ufffd", "")
    assert f"never/{name}" not in builder.corten("images", "--format", "{{.Repository}}").split()


@pytest.mark.parametrize("name", ["command-fails", "command-killed", "archive-escapes", "missing-in-stage", "command-not-there"])
def test_nothing_is_left_of_a_step_that_failed(name, builder, tmp_path):
    fails(builder, BY_NAME[name], tmp_path)  # what is before the failing step is in the cache now
    before = snapshots(builder)
    fails(builder, BY_NAME[name], tmp_path / "again")
    assert not left_by_builds(builder)
    wait_until(lambda: snapshots(builder) <= before, 10, f"what the step wrote to go: {snapshots(builder) - before}")


def test_no_archive_writes_outside(builder, tmp_path):
    fails(builder, BY_NAME["archive-escapes"], tmp_path / "dots")
    # Links in an archive stay in the folder that it is unpacked into.
    through = Tar({"l": Link("/tmp"), "l/escaped-through-link": "x", "up": Link("../../.."), "up/escaped-up": "x"})
    write_tree(tmp_path / "link", {"Dockerfile": "FROM base\nADD a.tar /d/\n", "a.tar": through})
    builder.corten("build", "-t", "contained", tmp_path / "link")
    seen = builder.corten("run", "--rm", "--network=none", "contained", "find", "/", "-xdev", "-name", "escaped*")
    assert sorted(seen.splitlines()) == ["/d/escaped-up", "/d/tmp/escaped-through-link"]
    builder.corten("rmi", "contained")
    assert not any(os.path.exists(f"/{place}") for place in ("escaped", "escaped-up", "tmp/escaped", "tmp/escaped-through-link", "tmp/owned"))


def test_a_cancelled_build_stops_its_steps(builder, tmp_path):
    write_tree(tmp_path, {"Dockerfile": "FROM base\nRUN echo first > /first\nRUN echo begun; sleep 1000\n"})
    process = builder.corten.popen("build", "--progress=plain", tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        if "begun" in line and "echo" not in line:
            break
    assert left_by_builds(builder, 0)  # the step's container
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    process.stdout.close()
    assert not left_by_builds(builder, 20)
    # What was done stays done.
    write_tree(tmp_path / "again", {"Dockerfile": "FROM base\nRUN echo first > /first\n"})
    assert "CACHED" in builder.corten.run("build", "--progress=plain", tmp_path / "again").err


def test_a_step_leaves_no_processes(builder, tmp_path):
    write_tree(tmp_path, {"Dockerfile": "FROM base\nRUN (trap '' TERM HUP; while :; do sleep 1; done) & (setsid sleep 999 &) ; mount -t tmpfs none /tmp 2>/dev/null; true\n", "f": File("x")})
    builder.corten("build", "-t", "quiet", tmp_path)
    assert not left_by_builds(builder)
    builder.corten("rmi", "quiet")
