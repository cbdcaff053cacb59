"""The same corpus by other ways: Docker's client over the classic API, the context as a tar, files that come over HTTP."""

import functools
import http.server
import os
import re
import subprocess
import threading

import pytest
from build_corpus import CORPUS
from build_corpus_files import CORPUS_OF_FILES
from build_harness import Saved, base_archive, difference, write_tree

BY_NAME = {entry.name: entry for entry in [*CORPUS, *CORPUS_OF_FILES]}
# One of each kind; the classic client sends no secrets.
CLASSIC = (
    "stages-by-name-and-number", "target", "arg-given", "env-everywhere", "run-takes-away", "run-file-kinds", "run-heredoc", "run-bind-context",
    "run-cache", "label", "healthcheck", "entrypoint-resets-cmd", "onbuild", "other-file", "file-from-stdin", "copy-modes", "copy-links", "copy-hard-links",
    "copy-names", "copy-parents", "copy-heredoc", "add-archive-gz", "ignore-patterns", "ignore-all-but",
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return base_archive(tmp_path_factory.mktemp("base"))


@pytest.fixture
def based(daemon, base):
    daemon.corten("load", "-i", base)
    yield daemon
    daemon.corten("builder", "prune", "-a", "-f")


@pytest.mark.parametrize("name", CLASSIC)
def test_docker_builds_the_same_here(name, based, docker, tmp_path):
    """With the classic builder's protocol: DOCKER_BUILDKIT=0."""
    entry = BY_NAME[name]
    entry.write(tmp_path)
    entry.build(based.corten, tmp_path, "way/ours")
    said = entry.build(docker, tmp_path, "way/docker", env={"DOCKER_BUILDKIT": "0"})
    assert re.search(r"^Successfully built [0-9a-f]{12}$", said, re.MULTILINE) and "Successfully tagged way/docker:latest" in said
    assert re.search(r"^Step 1/\d+ : FROM ", said, re.MULTILINE | re.IGNORECASE)
    found = difference(Saved(based.corten, "way/ours"), Saved(docker, "way/docker"))
    assert not found, found


def test_docker_sees_what_fails(based, docker, tmp_path):
    write_tree(tmp_path, {"Dockerfile": "FROM base\nRUN echo told && exit 42\n"})
    failed = docker.run("build", tmp_path, env={"DOCKER_BUILDKIT": "0"})
    assert failed.code == 42 and "told" in failed.out
    assert "The command '/bin/sh -c echo told && exit 42' returned a non-zero code: 42" in failed.err


@pytest.mark.parametrize("compress", ["", "--gzip", "--xz"])
def test_a_tar_on_standard_input(compress, based, tmp_path):
    write_tree(tmp_path / "c", {"Dockerfile": "FROM base\nCOPY sub /s\n", "sub/f": "of a tar\n"})
    tar = subprocess.run(["tar", "-C", tmp_path / "c", *([compress] if compress else []), "-cf", "-", "."], check=True, capture_output=True).stdout
    based.corten("build", "-t", "way/tar", "-", input=tar, text=False)
    based.corten("build", "-t", "way/folder", tmp_path / "c")
    assert based.corten("run", "--rm", "--network=none", "way/tar", "cat", "/s/f") == "of a tar"
    assert not difference(Saved(based.corten, "way/tar"), Saved(based.corten, "way/folder"))


def test_a_dockerfile_on_standard_input(based):
    based.corten("build", "-t", "way/stdin", "-", input="FROM base\nRUN echo alone > /r\n")
    assert based.corten("run", "--rm", "--network=none", "way/stdin", "cat", "/r") == "alone"


@pytest.fixture
def web(tmp_path):
    """Serves tmp_path/web; its address."""
    (tmp_path / "web").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "web")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_add_from_the_web(based, web, tmp_path):
    write_tree(tmp_path / "web", {"file.txt": "served\n", "a.tar": "no archive, but that is not asked\n"})
    digest = "sha256:" + subprocess.run(["sha256sum", tmp_path / "web/file.txt"], capture_output=True, text=True, check=True).stdout.split()[0]
    write_tree(tmp_path / "c", {"Dockerfile": f"FROM base\nARG U={web}\nADD $U/file.txt /d/\nADD --chmod=755 --chown=alice $U/file.txt?x=1 /renamed\n"
                                f"ADD --checksum={digest} $U/file.txt /checked\nADD $U/a.tar /kept.tar\n"})  # fmt: skip
    based.corten("build", "-t", "way/web", tmp_path / "c")
    shown = based.corten("run", "--rm", "--network=none", "way/web", "sh", "-c", "cat /d/file.txt /renamed /checked; stat -c '%a %u' /d/file.txt /renamed")
    assert shown.splitlines() == ["served"] * 3 + ["600 0", "755 1000"]
    # It is asked for again, and what changed counts.
    (tmp_path / "web/file.txt").write_text("changed\n")
    os.utime(tmp_path / "web/file.txt", (1_700_000_100, 1_700_000_100))
    error = based.corten.fails("build", "-t", "way/web", tmp_path / "c")
    assert "Dockerfile:5" in error and "ADD" in error and digest[7:20] in error


def test_a_context_from_the_web(based, web, tmp_path):
    write_tree(tmp_path / "c", {"Dockerfile": "FROM base\nCOPY f /f\n", "f": "by tar\n"})
    subprocess.run(["tar", "-C", tmp_path / "c", "-czf", tmp_path / "web/context.tar.gz", "."], check=True)
    based.corten("build", "-t", "way/remote", f"{web}/context.tar.gz")
    assert based.corten("run", "--rm", "--network=none", "way/remote", "cat", "/f") == "by tar"
