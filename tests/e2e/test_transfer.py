"""Pulls and pushes that end early: by a cut, a signal, a full disk, a registry that stalls or never ends."""

import os
import pathlib
import signal
import subprocess
import time

import pytest
from conftest import SLOWNESS, wait_until
from stage import Stage, digest_of, tar_of

MIB = 1 << 20


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.stop()


def partial(daemon):
    return {path.name: path.stat().st_size for path in (daemon.data_root / "content/partial").iterdir()}


def high_water(daemon):
    status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def stalling(stage, digest, until, method="GET"):
    def act(handler):
        if handler.command != method or not handler.path.endswith(digest):
            return False
        stage.send_blob(handler, digest, until, stage.stall)
        return True

    stage.act = act


def big_image(stage, tag="1", size=8 * MIB):
    return stage.image(tag, tar_of({"small": b"x"}), tar_of({"random": os.urandom(size)}))[1]


def test_a_killed_daemon_goes_on_where_it_was(make_daemon, stage):
    daemon = make_daemon()
    digest = big_image(stage)
    stalling(stage, digest, 5 * MIB)
    pulling = daemon.corten.popen("pull", f"{stage.address}/a/b:1", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until(lambda: partial(daemon).get(digest[7:]) == 5 * MIB, 20, "five MiB on disk")
    daemon.kill()
    pulling.communicate(timeout=20)
    assert pulling.returncode != 0
    stage.act = lambda handler: False
    daemon.start()
    assert partial(daemon) == {digest[7:]: 5 * MIB}
    daemon.corten("pull", f"{stage.address}/a/b:1")
    assert stage.sent[digest] == len(stage.blobs[digest]), "something was fetched twice"
    assert ("GET", f"/v2/a/b/blobs/{digest}", f"bytes={5 * MIB}-") in stage.requests
    assert not partial(daemon)
    name = daemon.corten("create", f"{stage.address}/a/b:1", "/x")
    archive = subprocess.run(daemon.corten.argv("cp", f"{name}:/random", "-"), env=daemon.environment, capture_output=True).stdout
    assert len(archive) > 8 * MIB
    daemon.corten("rm", name)


def test_a_daemon_that_is_stopped_does_not_wait_for_a_registry(make_daemon, stage):
    daemon = make_daemon()
    digest = big_image(stage)
    stalling(stage, digest, 3 * MIB)
    pulling = daemon.corten.popen("pull", f"{stage.address}/a/b:1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: partial(daemon).get(digest[7:]) == 3 * MIB, 20, "three MiB on disk")
    assert daemon.stop(timeout=10 * SLOWNESS) == 0
    assert stage.gone.wait(5 * SLOWNESS) and pulling.wait(10 * SLOWNESS) != 0
    stage.act = lambda handler: False
    daemon.start()
    daemon.corten("pull", "-q", f"{stage.address}/a/b:1")
    assert stage.sent[digest] == len(stage.blobs[digest])


@pytest.mark.parametrize("client", ["corten", "docker"])
def test_an_interrupted_pull_ends_at_once_and_can_go_on(daemon, stage, client):
    cli = getattr(daemon, client)
    if cli is None:
        pytest.skip("no docker CLI on the PATH")
    digest = big_image(stage)
    stalling(stage, digest, 3 * MIB)
    pulling = cli.popen("pull", f"{stage.address}/a/b:1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: partial(daemon).get(digest[7:]) == 3 * MIB, 20, "three MiB on disk")
    pulling.send_signal(signal.SIGINT)
    assert stage.gone.wait(5 * SLOWNESS), "the download goes on though nobody wants it"
    pulling.wait(10 * SLOWNESS)
    stage.act = lambda handler: False
    cli("pull", "-q", f"{stage.address}/a/b:1")
    assert stage.sent[digest] == len(stage.blobs[digest])


def test_an_interrupted_pull_of_a_silent_manifest(daemon, stage):
    reached = []
    stage.act = lambda handler: "/manifests/" in handler.path and (reached.append(1), stage.stall(handler), True)[-1]
    pulling = daemon.corten.popen("pull", f"{stage.address}/a/b:1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: reached, 20, "the manifest to be asked for")
    pulling.send_signal(signal.SIGINT)
    assert stage.gone.wait(5 * SLOWNESS)
    pulling.wait(10 * SLOWNESS)


@pytest.mark.parametrize("where", ["POST", "PUT", "HEAD"])
def test_an_interrupted_push_ends_at_once(daemon, stage, where):
    reached = []

    def act(handler):
        if "/blobs/" not in handler.path:
            return False
        if handler.command == where:
            reached.append(1)
            stage.stall(handler)
        elif handler.command == "POST":
            handler.answer(202, {"Location": "/v2/a/b/blobs/uploads/1"})
        else:
            handler.answer(404)
        return True

    stage.act = act
    cli, name = daemon.corten, f"{stage.address}/a/b:1"
    cli("tag", "busybox", name)
    pushing = cli.popen("push", name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: reached, 20, "the push to get there")
    pushing.send_signal(signal.SIGINT)
    assert stage.gone.wait(5 * SLOWNESS), "the push goes on though nobody wants it"
    pushing.wait(10 * SLOWNESS)


def test_prune_takes_what_is_left(daemon, stage):
    digest = big_image(stage)

    def act(handler):
        if not handler.path.endswith(digest):
            return False
        if handler.headers.get("Range"):
            handler.answer(403, {}, b"{}")
        else:
            stage.send_blob(handler, digest, 2 * MIB)
        return True

    stage.act = act
    assert "denied" in daemon.corten.fails("pull", f"{stage.address}/a/b:1")
    assert partial(daemon) == {digest[7:]: 2 * MIB}
    said = daemon.corten("image", "prune", "-f")
    assert "2.097MB" in said, said
    assert not partial(daemon)


def test_a_registry_that_wants_us_to_wait(daemon, stage, cli):
    digest = big_image(stage, size=1000)
    answers = iter([429])

    def act(handler):
        if handler.command != "GET" or not handler.path.endswith(digest) or next(answers, None) is None:
            return False
        handler.answer(429, {"Retry-After": "2"}, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}')
        return True

    stage.act = act
    said = cli("pull", f"{stage.address}/a/b:1")
    assert f"{digest[7:19]}: Retrying in 2 seconds (toomanyrequests: slow down)" in said, said
    assert f"{digest[7:19]}: Retrying in 1 second " in said
    assert f"{digest[7:19]}: Pull complete" in said


def test_a_full_disk_leaves_what_can_be_gone_on_with(make_daemon, stage):
    daemon = make_daemon(start=False)
    daemon.data_root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", daemon.data_root], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tmpfs")
    try:
        daemon.start()
        digest = big_image(stage, size=24 * MIB)
        hog = daemon.data_root / "hog"
        hog.write_bytes(bytes(40 * MIB))
        error = daemon.corten.fails("pull", f"{stage.address}/a/b:1")
        assert "no space left on device" in error
        assert daemon.corten("images", "-q") == ""
        had = partial(daemon).get(digest[7:], 0)
        hog.unlink()
        # Both the blob and the layer that is made of it have to fit.
        daemon.corten("pull", f"{stage.address}/a/b:1")
        asked = [place for method, path, place in stage.requests if path.endswith(digest) and method == "GET"]
        assert had > 0
        assert asked[-1] == f"bytes={had}-"
        daemon.clean()
    finally:
        daemon.kill()
        subprocess.run(["umount", "-l", daemon.data_root])


def endless(handler, piece=b"x" * 65536):
    handler.answer(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/vnd.oci.image.manifest.v1+json"})
    try:
        while True:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    except OSError:
        handler.close_connection = True


def test_what_never_ends_takes_no_memory(make_daemon, stage):
    daemon = make_daemon()
    digest = big_image(stage)
    cli, name = daemon.corten, f"{stage.address}/a/b:1"
    before = high_water(daemon)
    for part in ("/manifests/", digest, "/v2/token"):
        def act(handler, part=part):
            if handler.command == "GET" and part in handler.path:
                endless(handler)
                return True
            if part == "/v2/token":
                handler.answer(401, {"WWW-Authenticate": f'Bearer realm="http://{stage.address}/v2/token",service="x"'})
                return True
            return False

        stage.act = act
        assert len(cli.fails("pull", name)) < 1000
    # A thousand layers, and a head of many megabytes.
    stage.act = lambda handler: False
    stage.image("many", *[tar_of({"f": str(number).encode()}) for number in range(1000)])
    assert "max depth exceeded" in cli.fails("pull", f"{stage.address}/a/b:many")

    def act(handler):
        if "/manifests/" not in handler.path:
            return False
        handler.answer(200, {"X-Long": "x" * (32 * MIB)})
        return True

    stage.act = act
    cli.fails("pull", name)
    if SLOWNESS == 1:  # sanitizers keep memory back
        assert high_water(daemon) < before + 24 * MIB
    assert not partial(daemon) and not list((daemon.data_root / "content/ingest").iterdir())


def test_a_lie_about_a_blob_leaves_nothing(daemon, stage):
    digest = big_image(stage, size=MIB)
    data = bytes(len(stage.blobs[digest]))
    stage.act = lambda handler: handler.path.endswith(digest) and (handler.answer(200, {}, data), True)[-1]
    error = daemon.corten.fails("pull", f"{stage.address}/a/b:1")
    assert digest[7:19] in error and len(error) < 1000
    assert not partial(daemon)
    assert digest_of(data)[7:] not in {path.name for path in (daemon.data_root / "content/sha256").iterdir()}
    started = time.monotonic()
    stage.act = lambda handler: False
    daemon.corten("pull", "-q", f"{stage.address}/a/b:1")
    assert time.monotonic() - started < 20 * SLOWNESS
