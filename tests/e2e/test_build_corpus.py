"""Every Dockerfile of the corpus is built and run; where Docker's builder knows the syntax, its image has the same config and files.

Docker builds in the background while ours are tested. In the end nothing of the builds may be left.
"""

import concurrent.futures
import shutil
import tempfile

import pytest
from build_corpus import CORPUS
from build_corpus_files import CORPUS_OF_FILES
from build_harness import Saved, base_archive, buildkit_client, difference, left_by_builds
from conftest import Daemon
from dockerd import run_docker

ALL = [*CORPUS, *CORPUS_OF_FILES]
BY_NAME = {entry.name: entry for entry in ALL}
assert len(BY_NAME) == len(ALL)


@pytest.fixture(scope="module")
def bases(busybox_tar, tmp_path_factory):
    return busybox_tar, base_archive(tmp_path_factory.mktemp("base"))


def furnish(cli, bases):
    cli("import", bases[0], "busybox:latest")
    cli("load", "-i", bases[1])


@pytest.fixture(scope="module")
def builder(bases, make_builder):
    return make_builder(bases)


@pytest.fixture(scope="module")
def make_builder():
    """A daemon with the base images. What it leaves when its builds are over is an error."""
    made = []

    def make(bases):
        daemon = Daemon(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
        made.append(daemon)
        daemon.start()
        furnish(daemon.corten, bases)
        return daemon

    yield make
    problems = []
    for daemon in made:
        problems += left_by_builds(daemon)
        daemon.clean()
        problems += daemon.leaks()
        if not problems:
            shutil.rmtree(daemon.base, ignore_errors=True)
    assert not problems, "left behind:\n" + "\n".join(problems)


class Peer:
    """Docker's builders at work, ahead of the tests."""

    def __init__(self, cli, bases, folder, wanted):
        self.cli, self.folder = cli, folder
        furnish(cli, bases)
        self.pool = concurrent.futures.ThreadPoolExecutor(2)
        # An entry that brings images of its own is built when it is its turn: they share names.
        self.futures = {key: self.pool.submit(self.build, *key) for key in wanted if not BY_NAME[key[0]].before}

    def build(self, name, kind):
        entry = BY_NAME[name]
        base = self.folder / f"{name}-{kind}"
        entry.write(base)
        entry.build(self.cli, base, f"{kind}/{name}", "--network", "none", env={"DOCKER_BUILDKIT": "1" if kind == "buildkit" else "0"})
        return Saved(self.cli, f"{kind}/{name}")

    def image(self, name, kind):
        future = self.futures.get((name, kind))
        return future.result(300) if future else self.build(name, kind)

    def stop(self):
        self.pool.shutdown(wait=True, cancel_futures=True)


def comparisons():
    return [(entry.name, kind) for entry in ALL for kind in ("buildkit", "classic") if getattr(entry, kind)]


@pytest.fixture(scope="module")
def peer(bases, tmp_path_factory, request):
    if buildkit_client() is None:
        pytest.skip("needs a docker CLI older than 23 (package docker.io)")
    chosen = {(item.callspec.params["name"], item.callspec.params["kind"]) for item in request.session.items
              if item.fspath == request.fspath and "kind" in getattr(getattr(item, "callspec", None), "params", {})}  # fmt: skip
    for docker in run_docker(buildkit_client()):
        peer = Peer(docker.cli, bases, tmp_path_factory.mktemp("peer"), [key for key in comparisons() if key in chosen])
        yield peer
        peer.stop()


@pytest.fixture(scope="module")
def ours(builder, tmp_path_factory):
    """Builds an entry once; gives its name and what the client said."""
    built = {}

    def build(name):
        if name not in built:
            base = tmp_path_factory.mktemp(name)
            BY_NAME[name].write(base)
            built[name] = BY_NAME[name].build(builder.corten, base, f"corpus/{name}")
        return built[name]

    return build


def run(cli, image, command, flags):
    words = [] if command == "" else ["sh", "-c", command]
    return cli("run", "--rm", "--network=none", *flags, image, *words)


@pytest.mark.parametrize("name", list(BY_NAME))
def test_builds_and_runs(name, builder, ours):
    entry = BY_NAME[name]
    said = ours(name)
    for value in entry.secrets.values():
        assert value not in said
    for command, expected in entry.runs.items():
        assert run(builder.corten, f"corpus/{name}", command, entry.run_flags) == expected, entry.shows
    config = Saved(builder.corten, f"corpus/{name}").config() if entry.config else {}
    assert {field: config.get(field) for field in entry.config} == entry.config, entry.shows


@pytest.mark.parametrize("name, kind", comparisons())
def test_agrees_with_docker(name, kind, builder, ours, peer):
    theirs = peer.image(name, kind)
    ours(name)
    found = difference(Saved(builder.corten, f"corpus/{name}"), theirs, BY_NAME[name].differs)
    assert not found, f"{BY_NAME[name].shows}:\n{found}"
