"""The Engine API on the wire: versions, framing, bad input."""

import http.client
import json
import os
import pathlib
import re
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
            if "json" not in kind or not data:
                return answer.status, data, answer.headers
            documents = [json.loads(line) for line in data.splitlines()]  # more than one: progress
            return answer.status, documents[0] if len(documents) == 1 else documents, answer.headers
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


def test_every_endpoint_of_the_definition_answers(api):
    """What is not there says so in words; no path of the Engine API's definition is unknown."""
    endpoints = (pathlib.Path(__file__).parent.parent / "fixtures" / "engine-api-1.51.txt").read_text().splitlines()
    problems = []
    for method, path in map(str.split, endpoints):
        if path == "/events":
            continue  # has no end
        body, headers = ("{}", {"Content-Type": "application/json"}) if method in ("POST", "PUT") and "prune" not in path else (None, {})
        status, answer, _ = api(method, "/v1.51" + re.sub(r"\{\w+\}", "nobody", path), body, headers)
        if answer == {"message": "page not found"} or status == 500:
            problems.append(f"{method} {path}: {status} {answer}")
        if path.startswith(("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs")):
            if status not in (501, 503) or "swarm" not in answer["message"]:
                problems.append(f"{method} {path}: {status} {answer}")
    assert len(endpoints) > 100 and not problems, "\n".join(problems)


def test_numbers_out_of_all_bounds(api, daemon):
    daemon.corten("run", "-d", "--name", "nnn", "busybox", "sleep", "100")
    for number in ("9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e9", "0x10", "1" * 400):
        for path in (f"/containers/json?limit={number}", f"/containers/nnn/logs?stdout=1&tail={number}", f"/containers/nnn/logs?stdout=1&since={number}",
                     f"/containers/nnn/logs?stdout=1&until={number}", f"/events?since=0&until={number}&filters=%7B%22type%22%3A%5B%22node%22%5D%7D"):  # fmt: skip
            if "/events" in path and number.startswith("9223372036854775807"):
                continue  # until the end of time
            assert api("GET", path)[0] in (200, 400), path
        for path in (f"/containers/nnn/resize?h={number}&w={number}", f"/containers/nnn/stop?t={number}x"):
            assert api("POST", path)[0] == 400, path
    for field, value in (("StopTimeout", 1 << 62), ("StopTimeout", -(1 << 62)), ("HostConfig", {"Memory": 1 << 70}), ("HostConfig", {"PidsLimit": 1.5}),
                         ("HostConfig", {"CpuShares": 1 << 63}), ("HostConfig", {"BlkioWeight": 70000})):  # fmt: skip
        status, answer, _ = api("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"], field: value})
        assert status == 400, (field, value, answer)
    assert api("POST", "/containers/nnn/stop?t=0")[0] == 204


def test_bytes_that_are_no_text(api, daemon):
    """Names of files, and what a request says, need not be UTF-8; answers are JSON all the same."""
    status, answer, _ = api("GET", "/containers/%ff%fe/json")
    assert status == 404 and "\ufffd" in answer["message"]
    daemon.corten("run", "--name", "bbb", "busybox", "sh", "-c", "touch $(printf '/tmp/\\377x')")
    assert "/tmp/\ufffdx" in [change["Path"] for change in api("GET", "/containers/bbb/changes")[1]]
    api("GET", "/containers/%0aforged%20line/json")
    assert not any(line.startswith("forged") for line in daemon.log.read_text(errors="replace").splitlines())


def test_sizes_of_volumes(api, daemon):
    """Known by descriptors only: neither links nor depths lead the daemon out of a volume or out of its descriptors."""
    daemon.corten("run", "--rm", "-v", "flat:/f", "-v", "deep:/d", "busybox", "sh", "-c",
                  "cd /f && dd if=/dev/zero of=file bs=1024 count=64 && ln file other && ln -s / host;"
                  "cd /d && i=0; while [ $i -lt 1500 ]; do mkdir d && cd d; i=$((i+1)); done")  # fmt: skip
    sizes = {volume["Name"]: volume["UsageData"]["Size"] for volume in api("GET", "/system/df?type=volume")[1]["Volumes"]}
    assert 64 << 10 <= sizes["flat"] < 80 << 10 and sizes["deep"] == -1
    assert api("POST", "/volumes/prune?filters=%7B%22all%22:%5B%22true%22%5D%7D")[1]["VolumesDeleted"] == ["deep", "flat"]


def test_pipelined_requests_are_answered_in_order(daemon):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(daemon.socket))
        requests = [b"GET /_ping", b"GET /nowhere", b"GET /version", b"POST /nowhere"]
        client.sendall(b"".join(line + b" HTTP/1.1\r\nHost: x\r\n" + (b"Content-Length: 3\r\n\r\nabc" if line.startswith(b"POST") else b"\r\n") for line in requests)
                       + b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")  # fmt: skip
        answer = b""
        while chunk := client.recv(65536):
            answer += chunk
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404", b"200", b"404", b"200"]


def test_clients_that_vanish_leave_nothing_running(api, daemon):
    """Streams end with their clients: no thread, no descriptor stays."""
    daemon.corten("run", "-d", "--name", "vvv", "busybox", "sh", "-c", "while :; do echo output; usleep 1000; done")
    pid = daemon.process.pid

    def descriptors():
        return len(os.listdir(f"/proc/{pid}/fd"))

    before = descriptors()
    identity = api("POST", "/containers/vvv/exec", {"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})[1]["Id"]
    start = b'POST /exec/%s/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n{}'
    requests = [b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /containers/vvv/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /containers/vvv/stats HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /containers/vvv/wait HTTP/1.1\r\nHost: x\r\n\r\n",
                b"POST /containers/vvv/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n", start % identity.encode(),
                b"GET /containers/vvv/export HTTP/1.1\r\nHost: x\r\n\r\n"]  # fmt: skip
    for request in requests * 3:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(daemon.socket))
            client.sendall(request)
            client.recv(10)
    wait_until(lambda: descriptors() <= before + 3, 15, f"descriptors to go back to {before} from {descriptors()}")


class WebSocket:
    """As much of the protocol as a test needs; small frames only."""

    def __init__(self, daemon, path, *fields, tcp=None):
        self.socket = socket.create_connection(tcp) if tcp else socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        if not tcp:
            self.socket.connect(str(daemon.socket))
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *fields]  # fmt: skip
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = http.client.parse_headers(self.file)

    def send(self, payload, opcode=2):
        mask = b"abcd"
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(payload)))

    def receive(self):
        """Opcode and payload of the next frame."""
        first, length = self.file.read(2)
        if length == 126:
            length = int.from_bytes(self.file.read(2), "big")
        return first & 15, self.file.read(length)

    def read_until(self, end, opcode=2):
        data = b""
        while not data.endswith(end):
            kind, payload = self.receive()
            assert kind == opcode, (kind, payload, data)
            data += payload
        return data

    def close(self):
        self.file.close()
        self.socket.close()


def test_attach_over_a_websocket(daemon):
    daemon.corten("run", "-d", "-i", "--name", "www", "busybox", "sh", "-c", "cat; echo bye >&2; exit 3")
    one = WebSocket(daemon, "/v1.51/containers/www/attach/ws?stream=1&stdin=1&stdout=1&stderr=1")
    assert one.status == 101 and one.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    two = WebSocket(daemon, "/v1.27/containers/www/attach/ws?stream=1")
    three = WebSocket(daemon, "/v1.51/containers/www/attach/ws?stream=1&stderr=1")
    one.send(b"hello\n")
    assert one.read_until(b"hello\n") == b"hello\n", "no frames inside the messages"
    assert two.read_until(b"hello\n", opcode=1) == b"hello\n", "text for old clients"
    one.send(b"are you there?", opcode=9)
    assert one.receive() == (10, b"are you there?")
    two.send(b"", opcode=8)
    assert two.receive()[0] == 8 and two.file.read(1) == b""
    one.send(b"more\n", opcode=1)
    assert one.read_until(b"more\n") == b"more\n"
    daemon.corten("kill", "-s", "KILL", "www")
    for client in (one, three):
        assert client.receive() == (8, b"\x03\xe8")
        client.close()
    two.close()


def test_websocket_on_a_terminal_and_before_the_start(daemon):
    daemon.corten("create", "-it", "--name", "ttt", "busybox", "sh", "-c", "read x; echo got $x")
    client = WebSocket(daemon, "/containers/ttt/attach/ws?stream=1&stdin=1&stdout=1")
    daemon.corten("start", "ttt")
    client.send(b"this\n")
    assert client.read_until(b"got this\r\n") == b"this\r\ngot this\r\n"
    assert client.receive()[0] == 8
    client.close()
    assert daemon.corten("wait", "ttt") == "0"


def test_refused_websockets(api, daemon):
    daemon.corten("run", "-d", "--name", "rrr", "busybox", "sleep", "100")
    assert api("GET", "/containers/rrr/attach/ws?stream=1")[0] == 400
    assert api("GET", "/containers/rrr/attach/ws?stream=1", headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8"})[0] == 400
    missing = WebSocket(daemon, "/containers/nobody/attach/ws?stream=1")
    assert missing.status == 404
    missing.close()


def test_a_web_page_from_elsewhere_may_not_attach(make_daemon):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    daemon = make_daemon("--host", f"tcp://127.0.0.1:{address[1]}")
    daemon.corten("run", "-d", "--name", "ppp", "busybox", "sleep", "100")
    for origin, tcp, status in (("http://evil.test", address, 403), ("null", address, 403), ("http://x", address, 101), ("http://evil.test", None, 101)):
        client = WebSocket(daemon, "/containers/ppp/attach/ws?stream=1&stdout=1", f"Origin: {origin}", tcp=tcp)
        assert client.status == status, (origin, tcp)
        client.close()


def test_docker_py(daemon):
    # Its exec_run loses what comes in one piece with the answer's head: the daemon lets it read the head first.
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
assert box.exec_run(["sh", "-c", "echo in"]).output == b"in\\n"
code, (out, err) = box.exec_run(["sh", "-c", "echo o; echo e >&2; exit 3"], demux=True)
assert (code, out, err) == (3, b"o\\n", b"e\\n")
from concurrent.futures import ThreadPoolExecutor
def quick(number):
    return docker.DockerClient(base_url=sys.argv[1]).containers.get("py").exec_run(["echo", str(number)]).output
with ThreadPoolExecutor(4) as pool:
    outputs = list(pool.map(quick, range(40)))
assert outputs == [b"%d\\n" % number for number in range(40)], outputs
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
