"""login, logout and what they are for: a registry that wants a name and a password, with either client's config.json."""

import json
import os
import pathlib

import pytest
from registries import Registry

USER, PASSWORD = "me", "hush:me"


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    """With a password, and without TLS."""
    registry = Registry(tmp_path_factory.mktemp("guarded"), password=PASSWORD, tls=False)
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def guarded(basic):
    return basic.address


@pytest.fixture
def image(basic, daemon, tmp_path):
    """An image in the registry and nowhere else."""
    daemon.corten("tag", "busybox", "made:1")
    daemon.corten("save", "-o", tmp_path / "made.tar", "made:1")
    daemon.corten("rmi", "made:1")
    basic.put(tmp_path / "made.tar", "made:1", f"--dest-creds={USER}:{PASSWORD}")
    return f"{basic.address}/made:1"


def login(client, address, password=PASSWORD, user=USER):
    return client.run("login", "-u", user, "--password-stdin", address, input=password + "\n")


def test_login_pull_logout(clients, guarded, image, tmp_path):
    corten, _ = clients
    assert corten.run("pull", image).code == 1
    refused = login(corten, guarded, "wrong")
    assert refused.code == 1 and "unauthorized" in refused.err.lower() and "wrong" not in refused.err
    assert not (tmp_path / "config").exists()
    said = login(corten, guarded)
    assert (said.code, said.out) == (0, "Login Succeeded\n"), said
    file = tmp_path / "config" / "config.json"
    assert list(json.loads(file.read_text())["auths"]) == [guarded] and file.stat().st_mode & 0o777 == 0o600
    assert corten("pull", "-q", image) == image
    corten("rmi", image)
    assert corten("run", "--rm", image, "echo", "hello") == "hello", "run brings the credentials too"
    corten("rmi", image)
    assert corten("login", guarded) == "Login Succeeded", "with what is stored"
    corten("logout", guarded)
    assert json.loads(file.read_text()) == {"auths": {}}
    assert corten.run("pull", image).code == 1
    assert corten.run("run", "--rm", image, "true").code == 125


def test_docker_goes_on_with_our_login_and_the_reverse(clients, guarded, image):
    corten, docker = clients
    if docker is None:
        pytest.skip("no docker CLI on the PATH")
    for first, second in ((corten, docker), (docker, corten)):
        assert login(first, guarded).code == 0
        assert second("pull", "-q", image) == image
        second("rmi", image)
        second("logout", guarded)
        assert first.run("pull", image).code == 1


def test_push_needs_the_login(clients, guarded, daemon):
    corten, _ = clients
    corten("tag", "busybox", f"{guarded}/mine:2")
    assert corten.run("push", f"{guarded}/mine:2").code == 1
    assert login(corten, guarded).code == 0
    assert "2: digest: sha256:" in corten("push", f"{guarded}/mine:2")
    assert corten("push", "-q", f"{guarded}/mine:2") == f"{guarded}/mine:2"


def test_a_helper_has_the_password(clients, guarded, image, tmp_path):
    corten, _ = clients
    store = tmp_path / "bin"
    store.mkdir()
    helper = store / "docker-credential-test"
    helper.write_text(
        "#!/bin/sh\n"
        f"case $1 in store) cat >{store}/kept;; get) cat >/dev/null; cat {store}/kept;; erase) rm {store}/kept;; esac\n"
    )
    helper.chmod(0o755)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text('{"credsStore": "test"}')
    corten.environment = {**corten.environment, "PATH": f"{store}:{os.environ['PATH']}"}
    said = login(corten, guarded)
    assert said.code == 0 and said.err == "", said
    assert json.loads((tmp_path / "config" / "config.json").read_text()) == {"credsStore": "test", "auths": {guarded: {}}}
    assert json.loads(pathlib.Path(store / "kept").read_text())["Secret"] == PASSWORD
    assert corten("pull", "-q", image) == image
    corten("logout", guarded)
    assert not (store / "kept").exists()
