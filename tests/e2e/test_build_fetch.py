"""ADD of addresses and contexts that are addresses: a web server and Git's own server program on this machine."""

import hashlib
import http.server
import os
import shutil
import subprocess
import tempfile
import threading

import pytest
from build_harness import Tar, base_archive, left_by_builds, write_tree
from conftest import Daemon


class Handler(http.server.BaseHTTPRequestHandler):
    """Files by name, /to/… for redirects, and repositories by git-http-backend."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def backend(self, body):
        path, _, query = self.path.partition("?")
        env = {**os.environ, "GIT_PROJECT_ROOT": str(self.server.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
               "QUERY_STRING": query, "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", "")}  # fmt: skip
        out = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.answer(int(fields.pop("Status", "200 OK").split()[0]), rest, [("Content-Type", fields.get("Content-Type", ""))])

    def do_GET(self):
        self.server.seen.append(f"{self.command} {self.path}")
        name = self.path.partition("?")[0].strip("/")
        if ".git/" in self.path:
            return self.backend(b"")
        if name.startswith("to/"):
            return self.answer(302, headers=[("Location", "/" + name[3:])])
        body = self.server.files.get(name)
        if body is None:
            return self.answer(404, b"no")
        etag = '"' + hashlib.sha256(body).hexdigest() + '"'
        if self.headers.get("If-None-Match") == etag:
            return self.answer(304)
        return self.answer(200, body, [("ETag", etag), ("Last-Modified", "Tue, 15 Nov 1994 08:12:31 GMT")])

    def do_POST(self):
        self.server.seen.append(f"{self.command} {self.path}")
        self.backend(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_):
        pass


def tar_of(files):
    return Tar(files).bytes()


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.seen = tmp_path_factory.mktemp("git"), []
    server.files = {
        "hello.txt": b"hello\n",
        "some.tar": tar_of({"d/f": "in the tar\n"}),
        "context.tar": tar_of({"Dockerfile": "FROM base\nCOPY f /f\n", "f": "by tar\n"}),
        "Dockerfile": b"FROM base\nRUN echo alone > /f\n",
    }
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def git(folder, *words):
    person = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "e", "GIT_COMMITTER_NAME": "n",
              "GIT_COMMITTER_EMAIL": "e", "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000"}  # fmt: skip
    done = subprocess.run(["git", "-C", folder, *words], env={**os.environ, **person}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def repository(web):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    folder = web.folder / "r.git"
    write_tree(folder, {"Dockerfile": "FROM base\nCOPY f /f\n", "f": "by git\n", "sub/Dockerfile": "FROM base\nCOPY g /f\n",
                        "sub/g": "of the folder\n"})  # fmt: skip
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    write_tree(folder, {"f": "second\n"})
    git(folder, "commit", "-q", "-a", "-m", "two")
    return folder


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    daemon = Daemon(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
    daemon.start()
    daemon.corten("load", "-i", base_archive(tmp_path_factory.mktemp("base")))
    yield daemon
    left = left_by_builds(daemon)
    daemon.clean()
    left += daemon.leaks()
    if not left:
        shutil.rmtree(daemon.base, ignore_errors=True)
    assert not left, "left behind:\n" + "\n".join(left)


def build(daemon, folder, dockerfile, files=None):
    write_tree(folder, {**(files or {}), "Dockerfile": dockerfile})
    return daemon.corten.run("build", "-t", "made", folder, timeout=120)


def shows(daemon, command, image="made"):
    return daemon.corten("run", "--rm", image, "sh", "-c", command) + "\n"


def test_add_of_a_file(builder, web, tmp_path):
    done = build(builder, tmp_path, f"FROM base\nADD {web.url}/to/hello.txt?token=secret /d/\n")
    assert done.code == 0, repr(done)
    assert shows(builder, "cat /d/hello.txt; stat -c '%a %u %g %Y' /d/hello.txt") == "hello\n600 0 0 784887151\n"
    web.seen.clear()
    done = build(builder, tmp_path, f"FROM base\nADD {web.url}/to/hello.txt?token=secret /d/\n")
    assert "CACHED" in (done.out + done.err).upper() and len(web.seen) == 2, repr(done)


def test_add_with_a_checksum_and_mode(builder, web, tmp_path):
    digest = hashlib.sha256(b"hello\n").hexdigest()
    done = build(builder, tmp_path, f"FROM base\nADD --checksum=sha256:{digest} --chmod=755 --chown=3:4 {web.url}/hello.txt /x\n")
    assert done.code == 0, repr(done)
    assert shows(builder, "stat -c '%a %u %g' /x") == "755 3 4\n"
    done = build(builder, tmp_path, f"FROM base\nADD --checksum=sha256:{digest[::-1]} {web.url}/hello.txt /x\n")
    assert done.code != 0 and "digest mismatch" in done.err and "Dockerfile:2" in done.err, repr(done)


def test_add_of_an_archive_unpacks_only_on_request(builder, web, tmp_path):
    assert build(builder, tmp_path, f"FROM base\nADD {web.url}/some.tar /a/\nADD --unpack=true {web.url}/some.tar /b/\n").code == 0
    assert shows(builder, "ls /a; cat /b/d/f") == "some.tar\nin the tar\n"


def test_add_of_what_is_not_there(builder, web, tmp_path):
    done = build(builder, tmp_path, f"FROM base\nADD {web.url}/none?password=secret /x\n")
    assert done.code != 0 and "404" in done.err and "Dockerfile:2" in done.err, repr(done)
    done = build(builder, tmp_path, f"FROM base\nCOPY {web.url}/hello.txt /x\n")
    assert done.code != 0 and "source can't be a URL for COPY" in done.err, repr(done)


def test_add_of_a_repository(builder, web, repository, tmp_path):
    commit = git(repository, "rev-parse", "v1")
    done = build(builder, tmp_path, f"FROM base\nADD {web.url}/r.git#v1 /a\nADD {web.url}/r.git#main:sub /b\n"
                 f"ADD --keep-git-dir --checksum={commit} {web.url}/r.git#v1 /c\n")  # fmt: skip
    assert done.code == 0, repr(done)
    assert shows(builder, "cat /a/f /b/g /c/.git/HEAD; ls -a /a | grep -c git || true") == f"by git\nof the folder\n{commit}\n0\n"
    done = build(builder, tmp_path, f"FROM base\nADD {web.url}/r.git#none /a\n")
    assert done.code != 0 and "does not contain ref none" in done.err, repr(done)


def test_contexts(builder, web, repository):
    for url, what in (
        (f"{web.url}/r.git", "second\n"), (f"{web.url}/r.git#v1", "by git\n"), (f"{web.url}/r.git#:sub", "of the folder\n"),
        (f"{web.url}/context.tar", "by tar\n"),
    ):  # fmt: skip
        done = builder.corten.run("build", "-t", "remote", url, timeout=120)
        assert done.code == 0, repr(done)
        assert shows(builder, "cat /f", "remote") == what


def test_contexts_that_are_refused(builder, web, repository):
    for url in (f"{web.url}/none.git", f"{web.url}/none.tar", f"{web.url}/r.git#none", "git@127.0.0.1:x.git", "ssh://127.0.0.1/x.git"):
        done = builder.corten.run("build", url, timeout=120)
        assert done.code != 0, url


def test_a_submodule_of_this_machine(builder, web, repository):
    folder = web.folder / "bad.git"
    write_tree(folder, {"Dockerfile": "FROM base\nCOPY . /all\n", ".gitmodules": '[submodule "s"]\n\tpath = s\n\turl = /etc\n'})
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{git(repository, 'rev-parse', 'v1')},s")
    git(folder, "commit", "-q", "-m", "one")
    done = builder.corten.run("build", f"{web.url}/bad.git", timeout=120)
    assert done.code != 0 and "want an address with https://" in done.err, repr(done)
