"""The classic build API, with the clients that use it and with none: docker, docker-py, docker-compose, bare HTTP."""

import base64
import bz2
import gzip
import http.server
import io
import json
import lzma
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import urllib.parse

import pytest

from archives import tar_of
from conftest import wait_until
from registries import Registry
from test_api import Unix, raw

SIMPLE = "FROM busybox\nRUN echo built > /made\nCMD cat /made\n"


class Answer:
    def __init__(self, status, body):
        self.status = status
        self.body = body
        self.lines = []
        if status == 200:
            self.lines = [json.loads(line) for line in body.decode().splitlines() if line.strip()]

    @property
    def stream(self):
        return "".join(line.get("stream", "") for line in self.lines)

    @property
    def message(self):
        return json.loads(self.body)["message"]

    @property
    def error(self):
        return next((line["error"] for line in self.lines if "error" in line), None)

    @property
    def image(self):
        return [line["aux"]["ID"] for line in self.lines if "ID" in line.get("aux", {})][-1]


@pytest.fixture
def build(daemon):
    """POST /build with a tar, or with files to make one of."""

    def post(context, headers=None, **query):
        if isinstance(context, (dict, list)):
            context = tar_of(context)
        elif isinstance(context, str):
            context = tar_of({"Dockerfile": context})
        connection = Unix(daemon.socket)
        target = "/build?" + urllib.parse.urlencode(query, doseq=True)
        connection.request("POST", target, context, {"Content-Type": "application/x-tar", **(headers or {})})
        answer = connection.getresponse()
        result = Answer(answer.status, answer.read())
        connection.close()
        return result

    return post


def test_the_stream_is_the_classic_builders(build, daemon):
    answer = build(SIMPLE, t=["classic:1", "classic-too"])
    assert answer.status == 200 and answer.error is None, answer.body
    lines = answer.stream.splitlines()
    assert lines[0] == "Step 1/3 : FROM busybox"
    assert lines[1].startswith(" ---> ") and len(lines[1]) == len(" ---> ") + 12
    assert "Step 2/3 : RUN echo built > /made" in lines and "Step 3/3 : CMD cat /made" in lines
    short = answer.image.removeprefix("sha256:")[:12]
    assert lines[-3:] == [f"Successfully built {short}", "Successfully tagged classic:1",
                          "Successfully tagged classic-too:latest"]
    assert daemon.corten("run", "--rm", "classic-too") == "built"
    assert lines[-4].startswith("[Warning] JSON arguments recommended for CMD")
    again = build(SIMPLE)
    assert again.stream.count(" ---> Using cache\n") >= 1 and again.image == answer.image
    fresh = build(SIMPLE, nocache=1)
    assert "Using cache" not in fresh.stream


def test_quiet_is_the_id_alone(build):
    answer = build(SIMPLE, q=1)
    assert len(answer.lines) == 1 and answer.stream.startswith("sha256:") and answer.stream.endswith("\n")
    failed = build("FROM busybox\nRUN echo why; false\n", q=1)
    assert "why" in failed.stream and failed.error


def test_a_command_that_fails(build):
    answer = build("FROM busybox\nRUN echo before; exit 42\n")
    text = "The command '/bin/sh -c echo before; exit 42' returned a non-zero code: 42"
    assert answer.lines[-1] == {"errorDetail": {"code": 42, "message": text}, "error": text}
    assert "before\n" in answer.stream
    assert re.search(r"\n ---> Running in [0-9a-f]{12}\nbefore\n", answer.stream)


def test_output_that_is_cut_within_characters(build):
    answer = build("FROM busybox\nRUN printf '\\342'; sleep 0.2; printf '\\202\\254 \\377\\n'\n")
    assert "\u20ac \ufffd\n" in answer.stream, answer.body


def test_stages_are_told_in_the_files_order(build):
    dockerfile = (
        "FROM busybox AS slow\nRUN echo slow-begins; sleep 1; echo slow-ends > /slow; echo slow-done\n"
        "FROM busybox AS quick\nRUN echo quick-done > /quick; echo quick-told\n"
        "FROM busybox\nCOPY --from=slow /slow /\nCOPY --from=quick /quick /\n"
    )
    answer = build(dockerfile, nocache=1)
    stream = answer.stream
    assert stream.index("slow-done\n") < stream.index("FROM busybox AS quick") < stream.index("\nquick-told\n")
    steps = [int(line.split("/")[0].split()[1]) for line in stream.splitlines() if line.startswith("Step ")]
    assert steps == sorted(steps) and steps == list(range(1, len(steps) + 1))


def test_the_query(build, daemon):
    dockerfile = (
        "FROM busybox AS first\nARG WHO=nobody\nRUN echo $WHO $(cat /proc/sys/kernel/hostname | wc -l) > /who\n"
        "RUN grep -q '10.1.2.3.*store' /etc/hosts && ulimit -n > /files && df -k /dev/shm | tail -1 > /shm\n"
        "FROM busybox\nRUN false\n"
    )
    answer = build(
        {"sub/Other": dockerfile}, dockerfile="sub/Other", buildargs=json.dumps({"WHO": "me", "NOT": None}),
        labels=json.dumps({"a": "b"}), target="first", t="query", extrahosts="store:10.1.2.3", shmsize=1 << 20,
        ulimits=json.dumps([{"Name": "nofile", "Soft": 77, "Hard": 88}]), memory=64 << 20, networkmode="none",
        cachefrom=json.dumps(["busybox"]), rm=1, forcerm=1, platform="linux/amd64", version="1",
    )
    assert answer.error is None, answer.body
    image = daemon.corten.json("image", "inspect", "query")[0]
    assert image["Config"]["Labels"] == {"a": "b"}
    out = daemon.corten("run", "--rm", "query", "cat", "/who", "/files", "/shm")
    assert out.startswith("me 1\n77\n") and "1024" in out


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_contexts_come_packed_in_any_way(build, pack):
    answer = build(pack(tar_of({"Dockerfile": "FROM busybox\nCOPY f /\nRUN cat /f\n", "f": "inside\n"})), nocache=1)
    assert "inside\n" in answer.stream


def test_zstd_and_a_lone_dockerfile(build):
    if shutil.which("zstd"):
        packed = subprocess.run(["zstd", "-c"], input=tar_of({"Dockerfile": SIMPLE}), capture_output=True).stdout
        assert "Successfully built" in build(packed).stream
    assert "Successfully built" in build(SIMPLE.encode()).stream


def test_dockerignore(build):
    files = {"Dockerfile": "FROM busybox\nCOPY . /all\nRUN ls -A /all\n", ".dockerignore": "*.log\nDockerfile\n",
             "a.log": "", "b.txt": ""}
    shown = build(files, nocache=1).stream
    assert "b.txt\n" in shown and "a.log\n" not in shown and "\nDockerfile\n" not in shown
    # One that is for this Dockerfile alone takes its place.
    files["Dockerfile.dockerignore"] = "b.txt\n"
    shown = build(files, nocache=1).stream
    assert "a.log\n" in shown and "b.txt\n" not in shown


@pytest.mark.parametrize(
    "query, text",
    [
        ({"dockerfile": "Missing"}, "Cannot locate specified Dockerfile: Missing"),
        ({"dockerfile": "../../etc/passwd"}, "Forbidden path outside the build context: ../../etc/passwd ()"),
        ({"dockerfile": "/../../etc/passwd"}, "Cannot locate specified Dockerfile: /../../etc/passwd"),
        ({"dockerfile": "link"}, "Cannot locate specified Dockerfile: link"),
        ({"buildargs": "{"}, "error reading build args"),
        ({"buildargs": '{"A":1}'}, "error reading build args"),
        ({"labels": "[]"}, "error reading labels"),
        ({"ulimits": "x"}, "error reading ulimit settings"),
        ({"t": "UPPER"}, "invalid reference format"),
        ({"t": "a@sha256:" + "0" * 64}, "build tag cannot contain a digest"),
        ({"platform": "a/b/c/d"}, "platform"),
        ({"memory": "much"}, "memory"),
        ({"version": "2"}, "BuildKit"),
        ({"version": "3"}, "invalid version"),
        ({"securityopt": '["seccomp=unconfined"]'}, "does not support setting security options"),
        ({"securityopt": "seccomp=unconfined"}, "does not support setting security options"),
        ({"isolation": "hyperv"}, "Unsupported isolation"),
        ({"t": "sha256:abc"}, "refusing to create an ambiguous tag"),
        ({"remote": "file:///etc/passwd"}, "neither a web address"),
        ({"remote": "/etc/passwd"}, "neither a web address"),
    ],
)
def test_requests_that_are_wrong(build, query, text):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(SIMPLE)
        tar.addfile(entry, io.BytesIO(SIMPLE.encode()))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    answer = build(out.getvalue(), **query)
    assert answer.status == 400 and text in answer.message, answer.body


@pytest.mark.parametrize(
    "dockerfile, text",
    [
        ("FROM busybox\nFRUM x\n", "dockerfile parse error on line 2: unknown instruction: FRUM"),
        ("RUN x\n", "dockerfile parse error"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
    ],
)
def test_dockerfiles_that_are_wrong(build, dockerfile, text):
    answer = build(dockerfile)
    assert answer.status == 400 and text in answer.message, answer.body


def test_contexts_that_are_wrong(build, daemon):
    whole = tar_of({"Dockerfile": SIMPLE, "big": "x" * 100_000})
    for context in (b"", b"\0\1\2", whole[:5000], gzip.compress(whole)[:-20], b"\x1f\x8b\x08" + b"\xff" * 600):
        answer = build(context)
        assert answer.status in (400, 500), (context[:20], answer.body)
    escape = tar_of({"Dockerfile": SIMPLE, "../../escaped": "x"})
    assert build(escape).status == 400
    # Cut off by the client: the daemon goes on.
    raw(daemon, b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: 9999\r\n\r\nabc")
    head = b"POST /build HTTP/1.1\r\nHost: x\r\nX-Registry-Config: " + b"A" * 100_000 + b"\r\n\r\n"
    assert b" 431 " in raw(daemon, head)[:20]
    bad = build(SIMPLE, headers={"X-Registry-Config": "!!!"})
    assert bad.status == 400, bad.body
    config = base64.urlsafe_b64encode(b"{}").decode()
    assert build(SIMPLE, headers={"X-Registry-Config": config}).error is None


def test_a_client_that_goes_away_ends_its_build(daemon):
    body = tar_of({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 600\n"})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        head = f"POST /build?nocache=1 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        got = b""
        client.settimeout(20)
        while b"begun" not in got.split(b"Step 2", 1)[-1].split(b"\\n", 1)[-1]:
            got += client.recv(4096)
        assert subprocess.run(["pgrep", "-f", "sleep 600"], capture_output=True).stdout
    wait_until(lambda: not subprocess.run(["pgrep", "-fx", "sleep 600"], capture_output=True).stdout, 10, "its end")
    wait_until(lambda: not daemon.corten("ps", "-aq").split(), 10, "the step's container to go")


class Files(http.server.BaseHTTPRequestHandler):
    files = {}

    def do_GET(self):
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_contexts_behind_addresses(build, web):
    Files.files = {
        "/context.tar.gz": gzip.compress(tar_of({"Dockerfile": "FROM busybox\nCOPY f /\nRUN cat /f\n", "f": "far\n"})),
        "/Dockerfile": SIMPLE.encode(),
    }
    assert "far\n" in build(b"", remote=f"{web}/context.tar.gz", nocache=1).stream
    assert "Successfully built" in build(b"", remote=f"{web}/Dockerfile").stream
    missing = build(b"", remote=f"{web}/nothing")
    assert missing.status >= 400 and "404" in missing.message, missing.body


def test_images_come_with_the_clients_credentials(build, daemon, tmp_path):
    registry = Registry(tmp_path, password="secret", tls=False)
    try:
        archive = tmp_path / "base.tar"
        daemon.corten("save", "-o", archive, "busybox")
        registry.put(archive, "base:1", "--dest-creds", "me:secret")
        name = f"{registry.address}/base:1"
        refused = build(f"FROM {name}\nRUN true\n")
        assert refused.error or refused.status >= 400
        config = {registry.address: {"username": "me", "password": "secret"}}
        header = {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(config).encode()).decode()}
        answer = build(f"FROM {name}\nRUN echo from-afar\n", headers=header, nocache=1)
        assert answer.error is None and "from-afar\n" in answer.stream, answer.body
        shown = [line["status"] for line in answer.lines if "status" in line]
        assert any("Pulling from base" in status for status in shown)
        assert any(status.startswith("Digest: sha256:") for status in shown)
        # It is here now: the registry is not asked again, unless `pull` says so.
        assert build(f"FROM {name}\nRUN true\n").error is None
        assert build(f"FROM {name}\nRUN true\n", pull=1).error
    finally:
        registry.stop()


def test_the_signature_policy_holds_for_what_is_built_upon(make_daemon, tmp_path):
    policy = tmp_path / "trust.json"
    policy.write_text('{"default": "accept"}')
    daemon = make_daemon("--trust-policy", policy)
    policy.write_text('{"default": "reject"}')
    daemon.stop()
    daemon.start()
    connection = Unix(daemon.socket)
    connection.request("POST", "/build", tar_of({"Dockerfile": "FROM busybox\nLABEL a=b\n"}))
    answer = connection.getresponse()
    assert b"policy" in answer.read()
    connection.close()
    assert daemon.corten("images", "-q").count("\n") == 0


def test_the_cache_is_listed_and_pruned(build, daemon, docker):
    assert build("FROM busybox\nRUN echo unlike all others > /x\n", nocache=1).error is None
    connection = Unix(daemon.socket)
    for version, parent in (("v1.41", "Parent"), ("v1.51", "Parents")):
        connection.request("GET", f"/{version}/system/df?type=build-cache")
        document = json.loads(connection.getresponse().read())
        row = next(row for row in document["BuildCache"] if "unlike all others" in row["Description"])
        assert row["Type"] == "regular" and row["Size"] > 0 and row["CreatedAt"] and row["UsageCount"] >= 0
        assert ("BuilderSize" in document) == (version == "v1.41")
        assert parent in row or not row.get(parent)
    connection.request("POST", "/build/prune?filters=" + urllib.parse.quote('{"nonsense":["x"]}'))
    answer = connection.getresponse()
    assert answer.status == 400 and b"invalid filter" in answer.read()
    filters = urllib.parse.quote(json.dumps({"id": [row["ID"]]}))
    connection.request("POST", f"/build/prune?all=1&filters={filters}")
    pruned = json.loads(connection.getresponse().read())
    assert pruned["CachesDeleted"] == [row["ID"]] and pruned["SpaceReclaimed"] >= 0
    connection.close()
    docker("builder", "prune", "-af")
    docker("system", "prune", "-f")
    shown = docker("events", "--since", "1m", "--until", int(time.time()) + 1, "--filter", "type=builder")
    assert "builder prune" in shown


# --- clients


@pytest.fixture
def context(tmp_path):
    (tmp_path / "f.txt").write_text("from a file\n")
    (tmp_path / "Dockerfile").write_text("FROM busybox\nARG A=1\nCOPY f.txt /\nRUN echo $A >> /f.txt\nCMD cat /f.txt\n")
    return tmp_path


def test_docker(docker, context):
    env = {"DOCKER_BUILDKIT": "0"}
    out = docker("build", "-t", "by-docker", "--build-arg", "A=2", context, env=env)
    assert "Successfully tagged by-docker:latest" in out
    assert docker("run", "--rm", "by-docker") == "from a file\n2"
    quiet = docker("build", "-q", context, env=env)
    assert quiet.startswith("sha256:")
    stdin = docker("build", "-", input="FROM busybox\nRUN echo alone\n", env=env)
    assert "alone\n" in stdin
    failed = docker.run("build", "-", input="FROM busybox\nRUN exit 7\n", env=env)
    assert failed.code == 7 and "returned a non-zero code: 7" in failed.err
    outside = context.parent / "Elsewhere"
    outside.write_text("FROM busybox\nCOPY f.txt /g\n")
    docker("build", "-f", outside, context, env=env)
    iid = context / "iid"
    docker("build", "--iidfile", iid, "--label", "x=y", "--no-cache", context, env=env)
    assert docker.json("image", "inspect", iid.read_text())[0]["Config"]["Labels"]["x"] == "y"


def test_docker_py(daemon, context):
    docker_py = pytest.importorskip("docker")
    client = docker_py.DockerClient(base_url=f"unix://{daemon.socket}")
    image, logs = client.images.build(path=str(context), tag="by-py", buildargs={"A": "3"}, rm=True)
    assert "by-py:latest" in image.tags and any("Step 1/5" in line.get("stream", "") for line in logs)
    assert client.containers.run("by-py", remove=True) == b"from a file\n3\n"
    lines = list(client.api.build(path=str(context), decode=True, nocache=True, extra_hosts={"a": "10.0.0.9"}))
    assert any("Successfully built" in line.get("stream", "") for line in lines)
    with pytest.raises(docker_py.errors.BuildError, match="non-zero code: 9"):
        (context / "Bad").write_text("FROM busybox\nRUN exit 9\n")
        client.images.build(path=str(context), dockerfile="Bad")
    with pytest.raises(docker_py.errors.APIError, match="unknown instruction"):
        (context / "Worse").write_text("FROM busybox\nNONSENSE\n")
        client.images.build(path=str(context), dockerfile="Worse")
    client.close()


def test_docker_compose(daemon, context):
    if shutil.which("docker-compose") is None:
        pytest.skip("needs docker-compose")
    (context / "docker-compose.yml").write_text(
        "version: '2.4'\nservices:\n  app:\n    image: by-compose\n    build:\n      context: .\n"
        "      args:\n        A: 4\n      cache_from: [busybox]\n      labels: {l: m}\n"
    )
    environment = {**daemon.environment, "DOCKER_HOST": f"unix://{daemon.socket}", "COMPOSE_DOCKER_CLI_BUILD": "0"}
    done = subprocess.run(["docker-compose", "build"], cwd=context, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "Successfully tagged by-compose:latest" in done.stdout, done
    assert daemon.corten("run", "--rm", "by-compose") == "from a file\n4"
