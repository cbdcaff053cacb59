"""The Engine API on the wire: versions, framing, bad input."""

import http.client
import json
import socket

import pytest
from conftest import wait_until


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@pytest.fixture
def api(daemon):
    def call(method, path, body=None, headers=None):
        connection = Unix(daemon.socket)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
                headers = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            kind = answer.headers.get("Content-Type") or ""
            return answer.status, json.loads(data) if "json" in kind and data else data, answer.headers
        finally:
            connection.close()

    return call


def raw(daemon, data, timeout=10):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(str(daemon.socket))
        client.sendall(data)
        answer = b""
        try:
            while chunk := client.recv(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
        except TimeoutError:
            pass
        return answer


def test_versions(api):
    for path in ("/version", "/v1.24/version", "/v1.51/version"):
        status, body, headers = api("GET", path)
        assert status == 200 and body["ApiVersion"] == "1.51" and body["MinAPIVersion"] == "1.24"
        assert headers["Api-Version"] == "1.51" and headers["Ostype"] == "linux"
    status, body, _ = api("GET", "/v1.99/version")
    assert status == 400 and "client version 1.99 is too new. Maximum supported API version is 1.51" in body["message"]
    status, body, _ = api("GET", "/v1.12/version")
    assert status == 400 and "too old" in body["message"]


def test_ping(api):
    status, body, headers = api("GET", "/_ping")
    assert status == 200 and body == b"OK" and headers["Api-Version"] == "1.51"
    assert api("HEAD", "/_ping")[0] == 200


def test_unknown_paths_and_objects(api):
    assert api("GET", "/v1.43/nothing/here")[:2] == (404, {"message": "page not found"})
    assert api("GET", "/containers/nobody/json")[:2] == (404, {"message": "No such container: nobody"})
    assert api("GET", "/images/nothing/json")[0] == 404
    assert api("GET", "/exec/nothing/json")[0] == 404
    assert api("POST", "/containers/nobody/start")[0] == 404
    assert api("POST", "/containers/create", {"Image": "no-such-image"})[0] == 404
    assert api("GET", "/swarm")[0] == 503


@pytest.mark.parametrize(
    "body",
    [
        "", "{", "null", "[]", '"text"', '{"Image":1}', '{"Image":"busybox","Cmd":{"a":1}}', '{"Image":"busybox","HostConfig":[]}',
        '{"Image":"busybox","HostConfig":{"Memory":"much"}}', '{"Image":"busybox","HostConfig":{"Memory":1e30}}',
        '{"Image":"busybox","Env":[1]}', '{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}',
        '{"Image":"busybox","HostConfig":{"PortBindings":{"nonsense":[{}]}}}', '{"Image":"BAD NAME"}', '{"Image":""}',
        '{"Image":"busybox","HostConfig":{"NetworkMode":"container:"}}', '{"Image":"busybox","Hostname":"' + "x" * 500 + '"}',
        '{"Image":"busybox","WorkingDir":"relative"}', '{"Image":"busybox","HostConfig":{"RestartPolicy":{"Name":"maybe"}}}',
        '{"Image":"busybox","Volumes":{"relative":{}}}', "[" * 100000, '{"Image":"busybox","User":"' + "a" * 100000 + '"}',
    ],
)  # fmt: skip
def test_bad_create_bodies(api, daemon, body):
    status, answer, _ = api("POST", "/containers/create", body, {"Content-Type": "application/json"})
    if body.startswith('{"Image":"busybox","User"'):
        # A user is looked up at the start; until then it is only text.
        assert status in (201, 400)
    else:
        assert status in (400, 404), (status, answer)
        assert isinstance(answer["message"], str) and "\n" not in answer["message"]
        assert daemon.corten("ps", "-aq") == ""


def test_unknown_fields_are_ignored(api):
    status, body, _ = api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], "Future": {"x": 1}, "HostConfig": {"Also": 1}})
    assert status == 201, body


def test_content_type_is_checked(api):
    status, body, _ = api("POST", "/containers/create", '{"Image":"busybox"}', {"Content-Type": "text/plain"})
    assert status == 400 and "application/json" in body["message"]


def test_huge_body(api, daemon):
    """Refused; the daemon may hang up before all of it has been sent."""
    try:
        status, _, _ = api("POST", "/containers/create", '{"Image":"' + "a" * (5 << 20) + '"}', {"Content-Type": "application/json"})
        assert status in (400, 413)
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert daemon.corten("ps", "-aq") == ""


def test_bad_queries(api):
    for path in ("/containers/json?filters={", "/containers/json?filters=[1]", "/containers/json?limit=x", "/events?since=soon",
                 '/containers/json?filters={"nonsense":["1"]}', "/images/json?filters=1", "/containers/json?filters=%zz",
                 "/containers/x/resize"):  # fmt: skip
        status, answer, _ = api("GET", path.replace('"', "%22"))
        assert status in (400, 404), path


@pytest.mark.parametrize(
    "data, statuses",
    [
        (b"NONSENSE\r\n\r\n", {400}),
        (b"GET / HTTP/9.9\r\n\r\n", {400, 505}),
        (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", {414, 431, 400}),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * 200000 + b"\r\n\r\n", {431, 400}),
        (b"GET /_ping HTTP/1.1\r\nHost: x\r\n" + b"".join(b"H%d: v\r\n" % n for n in range(5000)) + b"\r\n", {431, 400}),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", {400}),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
        (b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", {400, 413}),
        (b"GET http://localhost/_ping HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    ],
)  # fmt: skip
def test_framing(daemon, data, statuses):
    answer = raw(daemon, data)
    assert answer.startswith(b"HTTP/1."), answer[:100]
    assert int(answer.split()[1]) in statuses, answer[:200]


def test_the_daemon_survives_it_all(api):
    assert api("GET", "/_ping")[0] == 200


def test_wait_answers_with_a_head_at_once(daemon):
    identity = daemon.corten("create", "busybox", "sh", "-c", "exit 6")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(daemon.socket))
        client.sendall(f"POST /v1.51/containers/{identity}/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"200 OK" in client.recv(4096)
        daemon.corten("start", identity)
        data = b""
        while b"StatusCode" not in data:
            data += client.recv(4096)
        assert b'"StatusCode":6' in data


def test_rows_of_a_list_follow_their_containers(api, daemon):
    """Rows are kept with a container's view: none may outlive it, and an older version's reader gets its own."""
    status = 'quo"te\\'  # in a label, where a careless search for the place of the status would find it
    daemon.corten("run", "-d", "--name", "rrr", "--label", f'Status="{status}', "--annotation", "a=b", "busybox", "sleep", "100")

    def row(version="v1.51", extra=""):
        return api("GET", f"/{version}/containers/json?all=1{extra}")[1][0]

    first = row()
    assert first == row() and first["State"] == "running" and first["Status"].startswith("Up ")
    assert first["Labels"] == {"Status": '"' + status} and list(first)[-4:] == ["Status", "HostConfig", "NetworkSettings", "Mounts"]
    sized = row(extra="&size=1")
    assert sized.pop("SizeRootFs") > 0 and {**sized, "Status": ""} == {**first, "Status": ""}
    assert "Annotations" not in row("v1.45")["HostConfig"] and first["HostConfig"]["Annotations"]["a"] == "b"
    assert "DNSNames" not in row("v1.43")["NetworkSettings"]["Networks"]["bridge"]
    wait_until(lambda: row()["Status"] not in (first["Status"], "Up Less than a second"), 5, "the time to be told anew")
    daemon.corten("rename", "rrr", "other")
    assert row()["Names"] == ["/other"]
    daemon.corten("pause", "other")
    assert row()["State"] == "paused" and row()["Status"].endswith(" (Paused)")
    daemon.corten("rm", "-f", "other")
    assert api("GET", "/containers/json?all=1")[1] == []


def test_older_versions_get_their_fields(api, daemon):
    daemon.corten("create", "--name", "old", "busybox", "true")
    assert "VirtualSize" in api("GET", "/v1.40/images/json")[1][0]
    assert "VirtualSize" not in api("GET", "/v1.51/images/json")[1][0]
    assert api("GET", "/v1.24/containers/json?all=1")[1][0]["Names"] == ["/old"]
    assert api("GET", "/v1.51/containers/old/json")[1]["NetworkSettings"]["Networks"]["bridge"]["MacAddress"] == ""


def test_docker_py(daemon):
    # The distribution's packages are for the distribution's interpreter.
    import subprocess

    script = """
import docker, sys
client = docker.DockerClient(base_url=sys.argv[1])
assert client.ping()
assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\\n"
box = client.containers.run("busybox", "sleep 100", detach=True, name="py", labels={"a": "b"})
box.reload()
assert box.status == "running" and box.labels == {"a": "b"}
assert box.exec_run("echo in").output == b"in\\n"
code, (out, err) = box.exec_run(["sh", "-c", "echo o; echo e >&2; exit 3"], demux=True)
assert (code, out, err) == (3, b"o\\n", b"e\\n")
assert [c.name for c in client.containers.list(filters={"label": "a=b"})] == ["py"]
stats = box.stats(stream=False)
assert stats["memory_stats"]["usage"] > 0 and stats["cpu_stats"]["online_cpus"] > 0
assert box.top()["Processes"]
bits, stat = box.get_archive("/etc/passwd")
assert stat["name"] == "passwd" and b"root:" in b"".join(bits)
box.stop(timeout=0)
assert box.wait()["StatusCode"] == 137
box.remove()
image = client.images.get("busybox")
assert "busybox:latest" in image.tags
try:
    client.containers.get("nobody")
    raise SystemExit("found nobody")
except docker.errors.NotFound:
    pass
print("fine")
"""
    result = subprocess.run(["/usr/bin/python3", "-c", script, daemon.host], capture_output=True, text=True, env=daemon.environment, timeout=60)
    if "No module named 'docker'" in result.stderr:
        pytest.skip("needs python3-docker")
    assert result.stdout.strip() == "fine", result.stderr
