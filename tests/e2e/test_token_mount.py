"""Mounts between repositories that need a token for both, and what may not be written to; test_token.py has the rest."""

import pytest
from registries import Registry
from token_server import TokenServer


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    server = TokenServer(tmp_path_factory.mktemp("tokens"), {"me": "secret", "you": "other"})
    yield server
    server.stop()


@pytest.fixture(scope="module")
def ruled(tokens, tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("ruled"), more=tokens.registry_config())
    yield registry
    registry.stop()


@pytest.fixture
def logged_in(ruled, daemon):
    clients = [client for client in (daemon.corten, daemon.docker) if client]
    clients[0]("login", "-u", "me", "--password-stdin", ruled.address, input="secret")
    yield clients[0]
    clients[0].run("logout", ruled.address)


def test_push_pull_and_mount_with_tokens(ruled, tokens, daemon, logged_in):
    cli, name = logged_in, f"{ruled.address}/me/box"
    cli("tag", "busybox", f"{name}:1")
    del tokens.requests[:]
    assert ": digest: sha256:" in cli("push", f"{name}:1")
    assert tokens.requests and all(user == "me" for user, _ in tokens.requests)
    # One token for all of it, however many threads need it.
    assert [scopes for _, scopes in tokens.requests] == [["repository:me/box:pull,push"]]
    # What another repository of ours has is mounted: that needs a token for both.
    cli("tag", "busybox", f"{name}-two:1")
    assert "Mounted from me/box" in cli("push", f"{name}-two:1")
    assert any(
        set(scopes) == {"repository:me/box:pull", "repository:me/box-two:pull,push"} for _, scopes in tokens.requests
    )
    # To somebody else's we may not write, and the mount's token does not help.
    cli("tag", "busybox", f"{ruled.address}/you/box:1")
    assert "denied" in cli.fails("push", f"{ruled.address}/you/box:1")
    cli("rmi", f"{name}:1", f"{name}-two:1", f"{ruled.address}/you/box:1")
    cli("pull", "-q", f"{name}:1")
    assert cli("run", "--rm", f"{name}:1", "echo", "it runs") == "it runs"
    cli("logout", ruled.address)
    assert "pull access denied" in cli.fails("pull", f"{name}:2")
