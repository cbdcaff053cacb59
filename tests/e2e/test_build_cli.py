"""corten build as its users see it: sessions with a real daemon, and on a terminal with one that says what it is told."""

import base64
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tarfile
import threading

import pytest
from conftest import SLOWNESS, wait_until
from registries import Registry
from test_progress import View, client, fake  # noqa: F401  (fixtures)

DOCKERFILE = """\
FROM busybox AS base
COPY a /a
RUN echo hello; cat /a; echo oops >&2
FROM scratch
COPY --from=base /a /b
LABEL kind=test
"""


@pytest.fixture(scope="module")
def built(busybox_tar, tmp_path_factory):
    """One daemon for all the builds here."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from conftest import Daemon

    daemon = Daemon(tmp_path_factory.mktemp("build"))
    # A socket's name has room for a hundred bytes only.
    daemon.socket = pathlib.Path(f"/tmp/ct-build-{os.getpid()}.sock")
    daemon.host = f"unix://{daemon.socket}"
    daemon.corten.host = daemon.host
    try:
        daemon.start()
        daemon.corten("import", busybox_tar, "busybox:latest")
        yield daemon
        wait_until(lambda: not daemon.corten("ps", "-aq"), 20 * SLOWNESS, "the steps' containers to be gone")
    finally:
        daemon.clean()
    assert daemon.leaks() == []


@pytest.fixture
def cli(built):
    return built.corten


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "a").write_text("content\n")
    return folder


def image_id(cli, name):
    return json.loads(cli("image", "inspect", name))[0]["Id"]


def files_in(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


# --- sessions


def test_a_session(cli, context):
    first = cli.run("build", "-t", "me/one:1", "-t", "two", context)
    assert first.code == 0 and first.out == ""
    assert "#1 [internal] load build context\n" in first.err
    for line in ("hello", "content", "oops"):
        assert f" {line}\n" in first.err
    assert "naming to docker.io/me/one:1\n" in first.err and "naming to docker.io/library/two:latest\n" in first.err
    assert image_id(cli, "me/one:1") == image_id(cli, "two")
    # The second time all is there, and the same image comes of it.
    second = cli.run("build", "-t", "two", context)
    assert second.err.count(" CACHED\n") >= 4 and " hello\n" not in second.err
    assert f"writing image {image_id(cli, 'me/one:1')}\n" in second.err
    # What has changed is named.
    (context / "a").write_text("other\n")
    third = cli.run("build", "--explain", "-t", "two", context)
    assert "why: file a changed\n" in third.err and " other\n" in third.err
    assert image_id(cli, "me/one:1") != image_id(cli, "two")
    assert cli.run("image", "build", "--no-cache", context).err.count(" other\n") == 1


def test_quiet_and_files_about_the_image(cli, context, tmp_path):
    done = cli.run("buildx", "build", "-q", "--iidfile", tmp_path / "id", "--metadata-file", tmp_path / "meta", "-t", "q", context)
    assert done.code == 0 and done.err == ""
    assert done.out.strip() == image_id(cli, "q") == (tmp_path / "id").read_text()
    meta = json.loads((tmp_path / "meta").read_text())
    assert meta["containerimage.config.digest"] == done.out.strip()
    assert meta["image.name"] == "docker.io/library/q:latest"


def test_outputs(cli, context, tmp_path):
    cli("build", "-o", tmp_path / "files", context)
    assert [(path.name, path.read_text()) for path in (tmp_path / "files").iterdir()] == [("b", "content\n")]
    piped = cli.run("build", "-o", "-", context, text=False)
    assert files_in(piped.out) == {"b": b"content\n"}
    cli("build", "--output", f"type=tar,dest={tmp_path / 'x.tar'}", context)
    assert (tmp_path / "x.tar").read_bytes() == piped.out
    archive = cli.run("build", "-o", "type=docker,dest=-", "-t", "archived", context, text=False).out
    assert cli.run("image", "inspect", "archived").code != 0
    cli("load", input=archive, text=False)
    cli("build", "-t", "here", context)
    assert image_id(cli, "archived") == image_id(cli, "here")
    assert "oci-layout" in files_in(cli.run("build", "-o", "type=oci,dest=-", context, text=False).out)
    # Both at once.
    cli("build", "-t", "both", "--load", "-o", f"type=local,dest={tmp_path / 'more'}", context)
    assert (tmp_path / "more" / "b").exists() and image_id(cli, "both") == image_id(cli, "here")
    assert "mkdir" in cli.fails("build", "-o", context / "a" / "x", context)


def test_contexts(cli, context, tmp_path):
    expected = cli("build", "-q", context)
    folder = subprocess.run(["tar", "-C", context, "-c", "."], capture_output=True, check=True).stdout
    zipped = subprocess.run(["tar", "-C", context, "-cz", "."], capture_output=True, check=True).stdout
    for archive in (folder, zipped):
        assert cli("build", "-q", "-", input=archive, text=False).strip() == expected.encode()
    lone = cli.run("build", "-t", "lone", "-", input="FROM busybox\nRUN echo from stdin\n")
    assert " from stdin\n" in lone.err
    assert cli("build", "-q", "-f", "-", context, input=DOCKERFILE) == expected
    (tmp_path / "outside").write_text(DOCKERFILE)
    assert cli("build", "-q", "-f", tmp_path / "outside", context) == expected
    other = tmp_path / "other"
    other.mkdir()
    (other / "c").write_text("of the other\n")
    shown = cli.run("build", "--build-context", f"more={other}", "-f", "-", context,
                    input="FROM busybox\nCOPY --from=more c /\nRUN cat /c\n")  # fmt: skip
    assert " of the other\n" in shown.err


def test_ignored_files(cli, context):
    (context / "junk").write_text("junk\n")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ls /all\n")
    (context / ".dockerignore").write_text("junk\nDockerfile\n")
    shown = cli.run("build", context)
    assert shown.code == 0 and " junk\n" not in shown.err and " a\n" in shown.err and " Dockerfile\n" not in shown.err
    (context / "Dockerfile.dockerignore").write_text("a\n")
    shown = cli.run("build", context)
    assert " junk\n" in shown.err and " a\n" not in shown.err


def test_arguments_secrets_and_targets(cli, context, tmp_path):
    (tmp_path / "token").write_text("hunter2\n")
    dockerfile = """\
FROM busybox AS one
ARG WORD=none
ARG HERE=none
RUN echo "$WORD and $HERE"
FROM one AS two
RUN --mount=type=secret,id=token --mount=type=secret,id=word,env=WORD2 wc -c < /run/secrets/token; echo "${#WORD2} letters"
"""
    done = cli.run("build", "--build-arg", "WORD=given", "--build-arg", "HERE", "--target", "two", "--secret",
                   f"id=token,src={tmp_path / 'token'}", "--secret", "id=word,env=SECRET_WORD", "-t", "secretive", "-",
                   input=dockerfile, env={"HERE": "taken", "SECRET_WORD": "swordfish"})  # fmt: skip
    assert done.code == 0, done.err
    assert " given and taken\n" in done.err and " 8\n" in done.err and " 9 letters\n" in done.err
    history = cli("history", "--no-trunc", "secretive")
    assert "hunter2" not in history + done.err and "swordfish" not in history + done.err
    assert "RUN echo" in cli.run("build", "--target", "one", "-", input=dockerfile).err
    assert 'two' not in cli.run("build", "--target", "one", "-", input=dockerfile).err


ASK_AGENT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const char *path = getenv("SSH_AUTH_SOCK");
  char answer[64] = "";
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (path == NULL) return 2;
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) return 3;
  if (write(fd, "question", 8) != 8 || read(fd, answer, sizeof answer - 1) <= 0) return 4;
  printf("the agent says %s\n", answer);
  return 0;
}
"""


@pytest.fixture
def agent(tmp_path):
    """Answers whoever asks: "yes, question"."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "agent"))
    listener.listen()
    asked = []

    def serve():
        while True:
            try:
                with listener.accept()[0] as connection:
                    asked.append(connection.recv(100))
                    connection.sendall(b"yes, " + asked[-1])
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield tmp_path / "agent", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_agents(cli, context, agent):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    path, asked = agent
    subprocess.run(["gcc", "-static", "-x", "c", "-", "-o", context / "ask"], input=ASK_AGENT, text=True, check=True)
    (context / "Dockerfile").write_text(
        "FROM busybox\nCOPY ask /ask\nRUN --mount=type=ssh /ask && /ask\nRUN --mount=type=ssh,id=other /ask\n"
        "RUN test -z \"$SSH_AUTH_SOCK\"\n"
    )
    done = cli.run("build", "--ssh", "default", "--ssh", f"other={path}", context, env={"SSH_AUTH_SOCK": str(path)})
    assert done.code == 0, done.err
    assert done.err.count(" the agent says yes, question\n") == 3 and asked == [b"question"] * 3
    assert "SSH_AUTH_SOCK is set" in cli.fails("build", "--ssh", "default", context)
    assert "ssh-add" in cli.fails("build", "--ssh", f"default={context / 'ask'}", context)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("guarded"), password="secret", tls=False)
    yield registry
    registry.stop()


def test_credentials_go_with_a_build(cli, context, guarded, tmp_path):
    name = f"{guarded.address}/team/base:1"
    env = {"DOCKER_CONFIG": str(tmp_path / "config")}
    refused = cli.run("build", "-t", name, "--push", context, env=env)
    assert refused.code == 1 and f"ERROR: failed to solve: push {name}: " in refused.err
    cli("login", "-u", "me", "--password-stdin", guarded.address, input="secret", env=env)
    pushed = cli.run("build", "-t", name, "--push", "--metadata-file", tmp_path / "meta", context, env=env)
    assert pushed.code == 0 and "pushing image\n" in pushed.err
    digest = json.loads((tmp_path / "meta").read_text())["containerimage.digest"]
    assert f" pushed {name}: {digest}\n" in pushed.err
    cli("rmi", name)
    # The same credentials fetch it as a base.
    dockerfile = f"FROM {name}\nLABEL more=1\n"
    assert cli.run("build", "-", input=dockerfile).code == 1
    assert cli.run("build", "-t", "from-there", "-", input=dockerfile, env=env).code == 0
    assert json.loads(cli("image", "inspect", "from-there"))[0]["Config"]["Labels"] == {"kind": "test", "more": "1"}


def test_what_is_wrong_is_said(cli, context, tmp_path):
    def says(text, *arguments, code=1, **options):
        assert text in cli.fails("build", *arguments, code=code, **options)

    says('unable to prepare context: path "nowhere" not found', "nowhere")
    says("unable to prepare context: context must be a directory", context / "a")
    (tmp_path / "empty").mkdir()
    says("failed to read dockerfile: open Dockerfile: no such file or directory", tmp_path / "empty")
    says("failed to read dockerfile: open none: no such file or directory", "-f", context / "none", context)
    says("unknown instruction: RNU (did you mean RUN?)", "-", input="FROM busybox\nRNU x\n")
    says("invalid reference format", "-t", "Not Good", context, code=125)
    says("unknown flag: --colour", "--colour", context, code=125)
    says("secret x: open /nowhere", "--secret", "id=x,src=/nowhere", context)
    says("standard input is empty", "-", input="")
    says("cannot be imported", "--cache-from", "x", context)
    says("'corten build' requires 1 argument", code=1)
    failed = cli.run("build", "-", input="FROM busybox\nRUN echo before; exit 7\n")
    assert failed.code == 1
    assert "RUN echo before; exit 7:\n" in failed.err and " before\n" in failed.err
    assert "ERROR: failed to solve: " in failed.err and "returned a non-zero code: 7" in failed.err
    assert "   2 | >>> RUN echo before; exit 7\n" in failed.err
    missing = cli.run("build", "-f", "-", context, input="FROM busybox\nCOPY aa /\n")
    assert '"/aa": not found' in missing.err


def test_checks(cli, context):
    assert cli("build", "--check", context) == "Check complete, no warnings found."
    (context / "Dockerfile").write_text("FROM busybox AS Upper\nMAINTAINER me\n")
    found = cli.run("build", "--check", context)
    assert found.code == 1 and "2 warnings have been found" in found.out
    assert "Dockerfile:1: StageNameCasing: " in found.out and "   2 | >>> MAINTAINER me\n" in found.out
    built = cli.run("build", context)
    assert built.code == 0 and "2 warnings found (more of them with --check):\n Dockerfile:1: StageNameCasing: " in built.err


def test_a_signal_cancels(built, cli, context):
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo kept > /x\nRUN echo begun; sleep 1000\n")
    process = cli.popen("build", context, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
    while " begun\n" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20 * SLOWNESS)
    assert process.returncode == 130 and "ERROR: build canceled" in err
    wait_until(lambda: not cli("ps", "-aq"), 20 * SLOWNESS, "the step to be gone")
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo kept > /x\nRUN echo second\n")
    assert cli.run("build", context).err.count(" CACHED\n") == 2


def test_json(cli, context):
    lines = [json.loads(line) for line in cli.run("build", "--progress", "rawjson", context).err.splitlines()]
    assert {next(iter(line)) for line in lines} >= {"Begun", "Ended", "Result"}


def test_the_cache_is_listed_and_pruned(cli, context):
    cli("build", "--no-cache", "-t", "cached", context)
    listed = cli("builder", "du")
    assert listed.splitlines()[0].split() == ["CACHE", "ID", "CACHE", "TYPE", "RECLAIMABLE", "SIZE", "LAST", "USED", "DESCRIPTION"]
    assert "RUN echo hello" in listed and "Total:" in listed
    ids = cli("builder", "du", "--format", "{{.ID}}").splitlines()
    assert ids and "Build cache usage:" in cli("system", "df", "-v")
    assert cli("system", "prune", "-f", "--filter", "label=none") == "Total reclaimed space: 0B"
    assert cli("builder", "prune", "-a", "-f", "--filter", "label=none") == "Total reclaimed space: 0B"
    assert "invalid filter 'foo'" in cli.fails("builder", "prune", "-f", "--filter", "foo=none")
    pruned = cli("builder", "prune", "-a", "-f")
    assert pruned.startswith("Deleted build cache objects:\n") and "Total reclaimed space: " in pruned
    assert cli("builder", "du", "--format", "{{.ID}}") == ""
    assert " hello\n" in cli.run("build", context).err


# --- on a terminal


def begun(fake, number, text, total=3, stage="main"):
    fake.messages.put({"Begun": {"Id": number, "Stage": stage, "Number": number, "Total": total, "Text": text}})


def output(fake, number, text):
    data = base64.b64encode(text.encode("latin-1")).decode()
    fake.messages.put({"Output": {"Id": number, "Base64": data}})


def ended(fake, number, **more):
    fake.messages.put({"Ended": {"Id": number, "TookNs": 1_500_000_000, **more}})


URL = "https://example.com/x.git"  # nothing of ours has to be sent


def test_steps_on_a_terminal(fake, client):  # noqa: F811
    view = View(client, "build", URL, rows=12, columns=60)
    begun(fake, 1, "FROM busybox")
    ended(fake, 1, Cached=True)
    begun(fake, 2, "RUN make")
    for i in range(20):
        output(fake, 2, f"compiling {i}\n")
    output(fake, 2, "\x1b[31m 50%\r 60%\x1b[0m\x07")
    view.shows(r"=> CACHED \[main 1/3\] FROM busybox +1\.5s", r"=> \[main 2/3\] RUN make +\d+\.\ds",
               "=> => # compiling 19", r"=> => #  60%\?", r"\[\+\] Building \d+\.\ds \(1/3\)")  # fmt: skip
    assert "=> => # compiling 3" not in view.screen.visible()
    view.resize_to(7, 30)
    output(fake, 2, "\nafter the window became smaller\n")
    view.shows(r"=> => # after the window bec…", r"\[\+\] Building \d+\.\ds \(1/3\)")
    view.resize_to(20, 70)
    ended(fake, 2)
    begun(fake, 3, "COPY . /")
    fake.messages.put({"Status": {"Id": 3, "Text": "copying", "Current": 500_000, "Total": 1_000_000}})
    view.shows(r"=> \[main 2/3\] RUN make +1\.5s", "=> => copying 500kB / 1MB")
    ended(fake, 3)
    fake.messages.put({"Warning": {"Rule": "Odd", "Detail": "is \x1b[2Jodd", "File": "Dockerfile", "FirstLine": 2, "LastLine": 2}})
    fake.messages.put({"Result": {"Images": [{"Platform": "linux/amd64", "Id": "sha256:abc", "Size": 1}], "Names": ["docker.io/library/x:1"]}})
    fake.end()
    lines = view.ends()
    text = "\n".join(lines)
    assert "=> => naming to docker.io/library/x:1" in lines
    assert "(3/3) FINISHED" in text and "1 warning found" in text and " Dockerfile:2: Odd: is ?[2Jodd" in lines


def test_a_step_that_went_well_leaves_one_line(fake, client):  # noqa: F811
    view = View(client, "build", "--explain", URL)
    begun(fake, 1, "RUN make")
    output(fake, 1, "compiling\n" * 30)
    view.shows("=> => # compiling")
    ended(fake, 1, Why="file a changed")
    fake.messages.put({"Result": {"Images": []}})
    fake.end()
    lines = view.ends()
    assert len(lines) == 3 and lines[0].startswith("=> [main 1/3] RUN make") and lines[0].endswith(" 1.5s")
    assert lines[1] == "=> => why: file a changed" and lines[2].endswith("(1/3) FINISHED")


def test_a_failure_on_a_terminal_shows_the_whole_output(fake, client):  # noqa: F811
    view = View(client, "build", URL, rows=10, columns=60)
    begun(fake, 1, "RUN make")
    begun(fake, 2, "RUN other")
    for i in range(40):
        output(fake, 1, f"line {i}\n")
    ended(fake, 1, Error="exit code: 2")
    fake.messages.put({"Error": {"Message": "Dockerfile:1: RUN: exit code: 2\n   1 | >>> RUN make", "Kind": "invalid"}})
    fake.end()
    lines = view.ends(code=1)
    text = "\n".join(lines)
    assert "=> ERROR [main 1/3] RUN make" in text and "=> CANCELED [main 2/3] RUN other" in text
    assert all(any(line.endswith(f" line {i}") for line in lines) for i in range(40))
    assert lines[-2:] == ["ERROR: failed to solve: Dockerfile:1: RUN: exit code: 2", "   1 | >>> RUN make"]


def test_control_c_on_a_terminal(fake, client):  # noqa: F811
    view = View(client, "build", URL)
    begun(fake, 1, "RUN sleep")
    view.shows(r"=> \[main 1/3\] RUN sleep +\d+\.\ds")
    view.write("\x03")
    lines = view.ends(code=130)
    assert any("=> CANCELED [main 1/3] RUN sleep" in line for line in lines)
    assert any("ERROR: build canceled" in line for line in lines)


def test_a_daemon_that_goes_away_is_said(fake, client):  # noqa: F811
    begun(fake, 1, "RUN sleep")
    fake.end()
    done = client.run("build", "--progress", "plain", URL)
    assert done.code == 1 and "the daemon ended the build without saying what came of it" in done.err
