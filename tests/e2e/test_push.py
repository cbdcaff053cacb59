"""Pushing to the reference registry, with Docker's command line and by the API."""

import json

import pytest
from registries import repository_name
from test_api import Unix


@pytest.fixture
def image(registry, daemon, tmp_path):
    """A two-layer image tagged for the registry; the repository's name."""
    cli = daemon.corten
    cli("run", "--name", "maker", "busybox", "sh", "-c", "head -c 3000000 /dev/urandom > /random")
    name = repository_name(tmp_path, "push")
    cli("commit", "maker", f"{registry.address}/{name}:1")
    cli("rm", "maker")
    return name


def test_push_and_pull_back(registry, image, docker, daemon):
    full = f"{registry.address}/{image}"
    said = docker("push", f"{full}:1")
    digest, manifest = registry.manifest(image, "1")
    assert f"The push refers to repository [{full}]" in said
    assert said.count(": Pushed") == 2 and f"1: digest: {digest} size: " in said
    for layer in manifest["layers"]:
        assert registry.blob_file(layer["digest"]).stat().st_size == layer["size"]
    identity = docker("image", "inspect", "-f", "{{.Id}}", f"{full}@{digest}")
    assert docker("image", "inspect", "-f", "{{.RepoDigests}}", f"{full}:1").strip() == f"[{full}@{digest}]"
    docker("rmi", f"{full}:1")
    docker("pull", "-q", f"{full}:1")
    assert docker("image", "inspect", "-f", "{{.Id}}", f"{full}:1") == identity
    assert docker("run", "--rm", f"{full}:1", "stat", "-c", "%s", "/random").strip() == "3000000"


def test_nothing_is_sent_twice(registry, image, docker):
    full = f"{registry.address}/{image}"
    docker("push", "-q", f"{full}:1")
    docker("tag", f"{full}:1", f"{full}:2")
    docker("tag", f"{full}:1", f"{full}-copy:1")
    assert docker("push", "-a", full).count("Layer already exists") == 4
    assert docker("push", f"{full}-copy:1").count(f"Mounted from {image}") == 2
    assert registry.manifest(image, "2")[0] == registry.manifest(image + "-copy", "1")[0]


def test_what_cannot_be_pushed(registry, image, docker):
    full = f"{registry.address}/{image}"
    assert f"tag does not exist: {full}:9" in docker.fails("push", f"{full}:9")
    assert f"does not exist locally with the tag: {full}/x" in docker.fails("push", f"{full}/x")


def post(daemon, path, headers=None):
    """The status and the answer's lines."""
    connection = Unix(daemon.socket)
    try:
        connection.request("POST", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, [json.loads(line) for line in answer.read().splitlines()]
    finally:
        connection.close()


NOBODY = {"X-Registry-Auth": "e30="}


def test_the_lines_of_the_answer(registry, image, daemon):
    path = f"/images/{registry.address}/{image}/push"
    status, lines = post(daemon, path + "?tag=1", NOBODY)
    assert status == 200
    digest, manifest = registry.manifest(image, "1")
    size = lines[-1]["aux"]["Size"]
    assert lines[0] == {"status": f"The push refers to repository [{registry.address}/{image}]"}
    assert lines[-2] == {"status": f"1: digest: {digest} size: {size}"}
    assert lines[-1] == {"progressDetail": {}, "aux": {"Tag": "1", "Digest": digest, "Size": size}}
    for layer in manifest["layers"]:
        about = [line for line in lines if line.get("id") == layer["digest"][7:19]]
        assert about[0]["status"] == "Preparing" and about[-1]["status"] == "Pushed"
        assert about[-2]["progressDetail"] == {"current": layer["size"], "total": layer["size"]}
    status, lines = post(daemon, path + "?tag=2", NOBODY)
    assert (status, lines[1]["error"]) == (200, f"tag does not exist: {registry.address}/{image}:2")
    assert lines[1]["errorDetail"] == {"message": lines[1]["error"]}


@pytest.mark.parametrize(
    ("query", "headers", "status", "text"),
    [
        ("tag=1", {}, 400, "missing X-Registry-Auth: EOF"),
        ("tag=1", {"X-Registry-Auth": "!"}, 400, ""),
        ("tag=%20", NOBODY, 400, "invalid reference format"),
        ("tag=1@sha256:" + 64 * "a", NOBODY, 400, "cannot push a digest reference"),
        ("tag=1&platform=%7B%22os%22:%22linux%22%7D", NOBODY, 400, "both OS and Architecture must be provided"),
        ("tag=1&platform=%7B", NOBODY, 400, "failed to parse platform"),
    ],
)
def test_requests_that_make_no_sense(registry, image, daemon, query, headers, status, text):
    answer = post(daemon, f"/images/{registry.address}/{image}/push?{query}", headers)
    assert answer[0] == status and text in answer[1][0]["message"]


def test_another_platform(registry, image, daemon):
    platform = "%7B%22os%22:%22linux%22,%22architecture%22:%22s390x%22%7D"
    _, lines = post(daemon, f"/images/{registry.address}/{image}/push?tag=1&platform={platform}", NOBODY)
    assert lines[-1]["error"].endswith("does not match the specified platform (linux/s390x)")
