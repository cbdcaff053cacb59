"""What the daemon looks up in registries without pulling: searches, tags, what a reference names. Both clients where both can."""

import base64
import http.server
import json
import socket
import subprocess
import threading
import urllib.parse

import pytest

RESULTS = [
    {"name": "busybox", "description": "Busybox base\nimage. " + "x" * 60, "star_count": 12, "is_official": True},
    {"name": "team/box", "description": "", "star_count": 0, "is_official": False, "is_automated": True},
    {"name": "team/tool", "description": None, "star_count": 30, "is_official": False},
]


class Index(http.server.BaseHTTPRequestHandler):
    """The search of a registry's first protocol."""

    protocol_version = "HTTP/1.1"
    seen, body, status = [], None, 200

    def do_GET(self):
        Index.seen.append((self.path, self.headers.get("Authorization")))
        url = urllib.parse.urlparse(self.path)
        body, status = b"{}", 200
        if url.path == "/v1/search":
            words = urllib.parse.parse_qs(url.query).get("q", [""])[0]
            found = [item for item in RESULTS if words in item["name"]]
            answer = json.dumps({"num_results": len(found), "query": words, "results": found}).encode()
            body, status = answer if Index.body is None else Index.body, Index.status
        if callable(body):
            return body(self)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def index():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Index.seen, Index.body, Index.status = [], None, 200
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_both_clients_find_the_same(daemon, index):
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")
    for line in [
        f"{index}/box", f"--no-trunc {index}/box", f"{index}/nothing", f"--format json {index}/", f"--limit 7 {index}/box",
        f"-f stars=3 {index}/", f"-f is-official=true {index}/", f"-f is-official=false -f stars=1 {index}/",
        f"-f is-automated=true {index}/", f"--format {{{{.Name}}}}/{{{{.StarCount}}}}/{{{{.IsOfficial}}}}/{{{{.Description}}}} {index}/",
        f"--format table\\t{{{{.Name}}}} {index}/", f"--format {{{{.Nope}}}} {index}/", f"-f bogus=1 {index}/x",
        f"-f stars=many {index}/x", f"-f is-official=maybe {index}/x", f"--limit 101 {index}/x", f"--limit x {index}/x",
        f"-f stars {index}/x", "http://host.example/x", "", "a b", "--bogus x",
    ]:  # fmt: skip
        ours, theirs = (client.run("search", *line.split()) for client in (daemon.corten, daemon.docker))
        wanted = (theirs.code, theirs.out, theirs.err.replace("docker", "corten"))
        assert (ours.code, ours.out, ours.err) == wanted, line


def test_what_is_asked(daemon, index):
    assert daemon.corten("search", "--format", "{{.Name}}", f"{index}/box") == "busybox\nteam/box"
    assert Index.seen[-1] == ("/v1/search?q=box&n=25", None)
    daemon.corten("search", "--limit", "3", f"{index}/a b")
    assert Index.seen[-1][0] == "/v1/search?q=a%20b&n=3"


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        pass


@pytest.mark.parametrize(
    "body, status, says",
    [
        (b"<html>", 200, "error decoding registry search results"),
        (b"[]", 200, "error decoding registry search results"),
        (b'{"results": [{"name": 5}]}', 200, "error decoding registry search results"),
        (b'{"results": [{"name": "a", "star_count": 1e400}]}', 200, "error decoding registry search results"),
        (b"{}", 404, "Unexpected status code 404"),
        (endless, 200, "larger than"),
    ],
)
def test_answers_that_are_none(cli, index, body, status, says):
    Index.body, Index.status = body, status
    error = cli.fails("search", f"{index}/x", code=1)
    assert error.startswith("Error response from daemon: ") and says in error and "\n" not in error


def test_texts_do_not_move_the_cursor(daemon, index):
    Index.body = json.dumps({"results": [{"name": "\x1b[2Ja", "description": "b\x1b]0;title\x07\tc" + "d" * 5000}]}).encode()
    for extra in ([], ["--no-trunc"], ["--format", "{{.Name}} {{.Description}}"], ["--format", "json"]):
        out = daemon.corten("search", *extra, f"{index}/x")
        assert "\x1b" not in out and "\x07" not in out and len(out) < 3000


def put_tags(registry, name, tags):
    source = f"docker://{registry.address}/{name}:1"
    for tag in tags:
        subprocess.run(
            ["skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", source,
             f"docker://{registry.address}/{name}:{tag}"],
            check=True, capture_output=True,
        )  # fmt: skip


def test_tags(registry, pushed, daemon):
    cli = daemon.corten
    put_tags(registry, pushed, ["1.9", "1.10", "1.10-slim", "1.10-rc1", "latest", "edge"])
    name = f"{registry.address}/{pushed}"
    wanted = ["latest", "1", "1.10", "1.10-slim", "1.10-rc1", "1.9", "edge"]
    assert cli("tags", "-q", name).split() == wanted
    assert cli("image", "tags", "--quiet", "--limit", "2", name).split() == wanted[:2]
    assert cli("tags", "--format", "{{.Name}}", "--limit", "1", name) == f"{name}:latest"
    cli("pull", "-q", f"{name}:1.9")
    image = cli("images", "-q", f"{name}:1.9")
    rows = [line.split() for line in cli("tags", name).splitlines()]
    assert rows[0] == ["TAG", "IMAGE", "ID"] and ["1.9", image] in rows and ["1.10"] in rows
    lines = [json.loads(line) for line in cli("tags", "--format", "json", "--no-trunc", name).splitlines()]
    assert [line["Tag"] for line in lines] == wanted
    assert [line["ID"] for line in lines if line["ID"]] == [cli("images", "-q", "--no-trunc", f"{name}:1.9")]


def test_tags_that_there_are_not(registry, daemon):
    cli = daemon.corten
    assert f"repository {registry.address}/no/such not found" in cli.fails("tags", f"{registry.address}/no/such", code=1)
    assert "without tag and digest" in cli.fails("tags", "busybox:1", code=1)
    assert "must be lowercase" in cli.fails("tags", "BusyBox", code=1)
    assert "number of tags" in cli.fails("tags", "--limit", "-1", "busybox", code=1)


def get(daemon, path, header=""):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(f"GET {path} HTTP/1.0\r\n{header}\r\n".encode())
        text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_distribution(registry, pushed, daemon):
    digest, manifest = registry.manifest(pushed, "1")
    name = f"{registry.address}/{pushed}"
    for reference in (f"{name}:1", f"{name}@{digest}"):
        status, body = get(daemon, f"/v1.50/distribution/{reference}/json")
        assert status == 200
        assert body["Descriptor"]["digest"] == digest
        assert body["Descriptor"]["mediaType"] == manifest["mediaType"]
        assert [(item["os"], item["architecture"]) for item in body["Platforms"]] == [("linux", "amd64")]
    assert get(daemon, f"/distribution/{name}/tags") == (200, {"Name": name, "Tags": ["1"]})
    status, body = get(daemon, f"/distribution/{name}:no/json")
    assert status == 404 and "manifest unknown" in body["message"]
    assert get(daemon, f"/distribution/{'0' * 64}/json") == (500, {"message": "no manifest found for full image ID"})
    assert get(daemon, "/distribution/A/json")[0] == 400
    assert get(daemon, f"/distribution/{name}:1/tags")[0] == 400
    assert get(daemon, "/images/search?term=x&limit=1x") == (
        400, {"message": 'invalid limit specified: strconv.Atoi: parsing "1x": invalid syntax'},
    )  # fmt: skip


def test_distribution_needs_the_password(guarded, daemon):
    daemon.corten("tag", "busybox", f"{guarded.address}/shut:1")
    daemon.corten("login", "-u", "me", "--password-stdin", guarded.address, input="secret")
    daemon.corten("push", "-q", f"{guarded.address}/shut:1")
    daemon.corten("logout", guarded.address)
    path = f"/distribution/{guarded.address}/shut:1/json"
    status, body = get(daemon, path)
    assert status == 401 and "no basic auth credentials" in body["message"]
    for password, wanted in (("secret", 200), ("wrong", 401)):
        auth = base64.urlsafe_b64encode(json.dumps({"username": "me", "password": password}).encode()).decode()
        assert get(daemon, path, f"X-Registry-Auth: {auth}\r\n")[0] == wanted
    assert get(daemon, path, "X-Registry-Auth: !\r\n")[0] == 401, "what makes no sense is no credentials"


def test_a_search_sends_credentials_when_asked(daemon, index, tmp_path):
    wanted = "Basic " + base64.b64encode(b"me:secret").decode()

    def guard(handler):
        known = handler.headers.get("Authorization") == wanted
        body = json.dumps({"results": RESULTS}).encode() if known else b"{}"
        handler.send_response(200 if known else 401)
        if not known:
            handler.send_header("WWW-Authenticate", 'Basic realm="index"')
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    Index.body = guard
    config = tmp_path / "config"
    config.mkdir()
    for client in filter(None, (daemon.corten, daemon.docker)):
        (config / "config.json").write_text("{}")
        env = {"DOCKER_CONFIG": str(config)}
        # A question to the user would be one that nobody answers.
        assert "no basic auth credentials" in client.fails("search", f"{index}/x", code=1, env=env)
        auths = {index: {"auth": base64.b64encode(b"me:secret").decode()}, "other.example": {"auth": "eDp5"}}
        (config / "config.json").write_text(json.dumps({"auths": auths}))
        assert "busybox" in client("search", f"{index}/x", env=env)
    assert {seen for _, seen in Index.seen} == {None, wanted}


def test_a_mirror_answers_for_docker_hub(make_daemon, registry, pushed):
    daemon = make_daemon("--registry-mirror", f"http://{registry.address}", image=False)
    assert daemon.corten("tags", "-q", pushed) == "1"
    status, body = get(daemon, f"/distribution/{pushed}:1/json")
    assert status == 200 and body["Descriptor"]["digest"] == registry.manifest(pushed, "1")[0]


def test_docker_py(daemon, registry, index, pushed):
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=daemon.host)
    name = f"{registry.address}/{pushed}"
    data = client.images.get_registry_data(f"{name}:1")
    assert data.id == registry.manifest(pushed, "1")[0]
    assert data.has_platform("linux/amd64") and not data.has_platform("linux/arm64")
    assert data.pull().attrs["RepoDigests"] == [f"{name}@{data.id}"]
    with pytest.raises(docker.errors.NotFound):
        client.images.get_registry_data(f"{name}:no")
    assert [found["name"] for found in client.images.search(f"{index}/box")] == ["busybox", "team/box"]
    client.close()
