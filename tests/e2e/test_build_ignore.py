"""What .dockerignore leaves out: the docker CLI's tar and Corten's manifest of the same folder, for made-up rules.

Both clients talk to a server of the test's own, which keeps what they send and builds nothing.
"""

import http.server
import io
import os
import random
import socketserver
import subprocess
import tarfile
import threading

import pytest
from conftest import BIN, docker_program

ROUNDS = 60
FOLDERS = ("a", "b", "ab", "keep")
FILES = ("a.c", "x.o", "b*", "[z]")
COMPONENTS = ("a b ab a.c x.o keep * ? a* *b ** *.o [a-b] [^a] a? b\\* **b a** . .. \\[z\\] *.?").split()
MAGIC = b"corten context 1\n"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path):
        self.sent = {}
        super().__init__(str(path), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"{}"):
        self.send_response(status)
        self.send_header("Api-Version", "1.44")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.answer(200)

    def do_GET(self):
        self.answer(200, b'{"ApiVersion":"1.44","MinAPIVersion":"1.24"}')

    def do_POST(self):
        body = self.chunks() if self.headers.get("Transfer-Encoding") else self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/build/contexts"):
            self.server.sent["corten"] = body
            self.answer(500, b'{"message":"seen enough"}')
        else:
            self.server.sent["docker"] = body
            self.answer(200, b'{"stream":"done"}\n')

    def chunks(self):
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out


def entries_of_manifest(data):
    """Path to whether it is a folder. The format is in docs/context.md."""
    assert data.startswith(MAGIC)
    stream = io.BytesIO(data[len(MAGIC) :])

    def number():
        value = shift = 0
        while True:
            byte = stream.read(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text():
        return stream.read(number())

    text(), number()
    out, path = {}, b""
    for _ in range(number()):
        path = path[: number()] + text()
        kind = number() // 2
        for _ in range({0: 8, 1: 4}[kind]):  # files, folders: there is nothing else here
            number()
        out[path.decode()] = kind == 1
    return out


def entries_of_tar(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name.removeprefix("./").rstrip("/"): member.isdir() for member in tar if member.name != "."}


def fill(folder, depth=0):
    for name in FOLDERS + FILES:
        if name in FOLDERS and depth < 2:
            (folder / name).mkdir()
            fill(folder / name, depth + 1)
        else:
            (folder / name).write_text("x")


def made_up_rules(chance):
    lines = []
    for _ in range(chance.randint(1, 4)):
        if chance.random() < 0.35:
            # Without wildcards: the docker CLI does not enter an ignored folder for an exception that has some.
            lines.append("!" + "/".join(chance.choice(FOLDERS + ("x.o", "a.c")) for _ in range(chance.randint(1, 3))))
            continue
        pattern = "/".join(chance.choice(COMPONENTS) for _ in range(chance.randint(1, 3)))
        lines.append(chance.choice(("", "", "/", "  ")) + pattern + chance.choice(("", "", "/", " ")))
    return lines


@pytest.fixture
def server(tmp_path):
    path = f"/tmp/ct-ignore-{os.getpid()}.sock"
    with Server(path) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    os.unlink(path)


def test_both_clients_leave_out_the_same(server, tmp_path):
    docker = docker_program()
    if docker is None:
        pytest.skip("needs the docker CLI")
    folder = tmp_path / "context"
    folder.mkdir()
    fill(folder)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    host = f"unix://{server.server_address}"
    environment = dict(os.environ, DOCKER_BUILDKIT="0", DOCKER_HOST=host, DOCKER_CONFIG=str(tmp_path), HOME=str(tmp_path))
    chance = random.Random(20)
    compared = 0
    for rules in [["**/*.o", "!a"], ["**", "!ab/a/ab", "*b"]] + [made_up_rules(chance) for _ in range(ROUNDS)]:
        (folder / ".dockerignore").write_text("\n".join(rules) + "\n")
        server.sent.clear()
        subprocess.run([docker, "build", folder], env=environment, capture_output=True, timeout=60)
        subprocess.run([BIN / "corten", "-H", host, "build", folder], env=environment, capture_output=True, timeout=60)
        assert server.sent.keys() == {"docker", "corten"}, f"{rules}: only {list(server.sent)} take it"
        theirs, ours = entries_of_tar(server.sent["docker"]), entries_of_manifest(server.sent["corten"])
        # The docker CLI sends these two in any case; Corten sends the Dockerfile apart.
        aside = {"Dockerfile", ".dockerignore"}
        files = [{path for path, is_folder in one.items() if not is_folder} - aside for one in (theirs, ours)]
        folders = [{path for path, is_folder in one.items() if is_folder} for one in (theirs, ours)]
        assert files[0] == files[1], rules
        # A folder that is ignored itself is listed here where something in it is not.
        needed = {path for path in folders[1] if any(other.startswith(path + "/") for other in files[1] | folders[0])}
        assert folders[0] <= folders[1] <= folders[0] | needed, rules
        compared += bool(files[0])
    assert compared > ROUNDS / 3
