"""The view of layers on a terminal, with a daemon that says what it is told to, step by step."""

import json
import os
import queue
import re
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest
from conftest import BIN, SLOWNESS, Cli, Failed
from screen import Screen
from test_streams import Terminal


class Daemon:
    """Answers every request with the messages that are said, until end()."""

    def __init__(self, directory):
        self.path = str(directory / "s")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.messages = queue.Queue()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(65536)
            head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nApi-Version: 1.51\r\n"
            if b"/_ping" in request:
                client.sendall(f"{head}Content-Length: 2\r\nConnection: close\r\n\r\nOK".encode())
                client.close()
                continue
            try:
                client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
                while (message := self.messages.get()) is not None:
                    text = (json.dumps(message) + "\r\n").encode()
                    client.sendall(f"{len(text):x}\r\n".encode() + text + b"\r\n")
                client.sendall(b"0\r\n\r\n")
            except OSError:
                pass  # it has heard enough
            client.close()

    def say(self, status, id=None, current=None, total=None, **more):
        detail = {} if current is None else {"current": current, "total": total}
        message = {"status": status, "progressDetail": detail, **more}
        self.messages.put(message if id is None else {**message, "id": id})

    def fail(self, text):
        self.messages.put({"errorDetail": {"message": text}, "error": text})

    def end(self):
        self.messages.put(None)

    def close(self):
        self.end()
        self.listener.close()


class View(Terminal):
    """A client on a terminal whose screen can be looked at."""

    def __init__(self, cli, *arguments, rows=24, columns=80):
        self.screen = Screen(rows, columns)
        self.raw = ""
        super().__init__(cli, *arguments, rows=rows, columns=columns)

    def read(self, seconds):
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536).decode()
        except OSError:
            return None
        self.raw += data
        self.screen.feed(data)
        return True

    def shows(self, *texts, timeout=10 * SLOWNESS):
        """Waits until each text (a regular expression) is a visible line."""
        end = time.monotonic() + timeout
        while True:
            lines = self.screen.visible()
            missing = [text for text in texts if not any(re.fullmatch(text, line) for line in lines)]
            if not missing:
                return lines
            if time.monotonic() > end or self.read(end - time.monotonic()) is None:
                raise Failed(f"no line {missing} on the screen:\n" + "\n".join(lines))

    def resize_to(self, rows, columns):
        self.screen.resize(rows, columns)
        self.resize(rows, columns)

    def ends(self, code=0):
        while self.read(10 * SLOWNESS):
            pass
        assert self.close() == code
        return self.screen.text().rstrip("\n").split("\n")


@pytest.fixture
def fake(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.close()


@pytest.fixture
def client(fake, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "CORTEN_", "LC_", "LANG"))}
    environment |= {"HOME": str(tmp_path), "TERM": "xterm", "LANG": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    return Cli(BIN / "corten", f"unix://{fake.path}", environment)


def layer(number):
    return f"{number:012x}"


def test_layers_and_their_sum(fake, client):
    view = View(client, "pull", "busybox:1")
    fake.say("Pulling from library/busybox", "1")
    fake.say("Already exists", layer(1))
    fake.say("Pulling fs layer", layer(2))
    fake.say("Downloading", layer(3), 500_000, 1_000_000)
    view.shows("1: Pulling from library/busybox", f"{layer(1)}: Already exists", f"{layer(2)}: Pulling fs layer",
               rf"{layer(3)}: Downloading \[█+▌? +\] +500kB/1MB", r"1 of 3 layers   500kB of 1MB\+.*")  # fmt: skip
    fake.say("Downloading", layer(2), 1_000_000, 4_000_000)
    view.shows(rf"{layer(2)}: Downloading \[.*\] +1MB/4MB", "1 of 3 layers   1.5MB of 5MB.*")
    for each in 2, 3:
        fake.say("Download complete", layer(each))
        fake.say("Pull complete", layer(each))
    view.shows("3 of 3 layers   5MB of 5MB")
    fake.say("Digest: sha256:0")
    fake.say("Status: Downloaded newer image for busybox:1")
    fake.end()
    lines = view.ends()
    assert lines[:4] == ["1: Pulling from library/busybox", f"{layer(1)}: Already exists",
                         f"{layer(2)}: Pull complete", f"{layer(3)}: Pull complete"]  # fmt: skip
    assert re.fullmatch(r"3 layers   5MB in [\d.]+s   [\d.]+MB/s", lines[4])
    assert lines[5:] == ["Digest: sha256:0", "Status: Downloaded newer image for busybox:1", "docker.io/library/busybox:1"]
    assert "1" in view.screen.styles


def test_more_layers_than_rows(fake, client):
    view = View(client, "pull", "busybox:1", rows=10, columns=60)
    fake.say("Pulling from library/busybox", "1")
    for number in range(60):
        fake.say("Pulling fs layer", layer(number))
    view.shows("0 of 60 layers", "53 layers more")
    for number in range(60):
        fake.say("Downloading", layer(number), 1, 1000)
        fake.say("Download complete", layer(number))
        fake.say("Pull complete", layer(number))
        if number % 7 == 0:
            visible = view.shows(f"{number + 1} of 60 layers.*")
            ids = [line.split(":")[0] for line in visible if ": Pull" in line]
            assert len(ids) == len(set(ids)) and len(visible) <= 10, visible
    fake.say("Digest: sha256:0")
    fake.end()
    lines = view.ends()
    # Nothing of it has been left behind on the way, be it scrolled out.
    assert lines[0] == "1: Pulling from library/busybox"
    assert re.fullmatch(r"60 layers   60kB in .*", lines[1])
    assert lines[2:] == ["Digest: sha256:0", "docker.io/library/busybox:1"]


def test_a_window_that_changes_its_size(fake, client):
    view = View(client, "pull", "busybox:1", rows=24, columns=120)
    fake.say("Pulling from library/busybox", "1")
    for number in range(8):
        fake.say("Downloading", layer(number), 1000 + number, 1_000_000)
    view.shows("0 of 8 layers.*", rf"{layer(7)}: Downloading \[.*")
    # What a lower window has pushed out at its top nobody can take back, so the low ones come last.
    for rows, columns in (24, 50), (24, 20), (30, 100), (12, 40), (5, 90), (3, 30):
        view.resize_to(rows, columns)
        fake.say("Downloading", layer(0), 2000 + columns, 1_000_000)
        visible = view.shows("0 of .*", timeout=10)
        end = time.monotonic() + 0.4  # four drawings
        while (left := end - time.monotonic()) > 0:
            view.read(left)
        visible = [line for line in view.screen.visible() if line]
        assert sum(line.startswith("0 of") for line in visible) == 1, visible
        ids = [line[:12] for line in visible if line.startswith("0000")]
        assert len(ids) == len(set(ids)), visible
        assert all(len(line) < columns for line in visible if line.startswith("0")), visible
    fake.say("Pull complete", layer(0))
    fake.end()
    lines = view.ends()
    assert lines[-2].startswith("1 of 8 layers") and lines[-1] == "docker.io/library/busybox:1"


@pytest.mark.parametrize("language", ["C.UTF-8", "C"])
def test_foreign_text_is_only_text(fake, client, language):
    client.environment["LANG"] = language
    view = View(client, "pull", "busybox:1")
    fake.say("Pulling from \x1b[2Jx", "1\x1b]0;title\x07")
    fake.say("Downloading\x1b[31m\r\n", "id\x1b[5A", 5, 10)
    fake.say("\x9b2J\x85 Wäiting", "漢字")
    view.shows("0 of 2 layers.*")
    fake.say("Status: \x1b[2Jdone\nnext")
    fake.fail("no \x1b[2Jspace")
    lines = view.ends(code=1)
    assert lines[-1] == "no ?[2Jspace"
    assert "Status: ?[2Jdone" in lines and "next" in lines
    assert ("漢字: ?2J? Wäiting" if language == "C.UTF-8" else "??????: ?2J? W??iting") in lines


def test_an_error_leaves_what_there_was(fake, client):
    view = View(client, "pull", "busybox:1")
    fake.say("Downloading", layer(1), 5, 10)
    view.shows("0 of 1 layer .*")
    fake.fail("the registry hung up")
    lines = view.ends(code=1)
    assert lines[0].startswith(f"{layer(1)}: Downloading") and lines[1].startswith("0 of 1 layer   5B in")
    assert lines[2:] == ["the registry hung up"]


def test_no_colour_and_dumb_terminals(fake, client):
    client.environment["NO_COLOR"] = "1"
    view = View(client, "pull", "busybox:1")
    fake.say("Downloading", layer(1), 5, 10)
    view.shows("0 of 1 layer .*")
    fake.end()
    view.ends()
    assert not view.screen.styles
    client.environment["TERM"] = "dumb"
    view = View(client, "pull", "busybox:1")
    fake.say("Downloading", layer(1), 5, 10)
    fake.say("Pull complete", layer(1))
    fake.end()
    assert view.ends() == [f"{layer(1)}: Pull complete", "docker.io/library/busybox:1"]
    assert "\x1b" not in view.raw


MESSAGES = [
    ("Pulling from library/busybox", "1"),
    ("Pulling fs layer", layer(1)),
    ("Waiting", layer(2)),
    ("Downloading", layer(1), 5, 10),
    ("Verifying Checksum", layer(1)),
    ("Download complete", layer(1)),
    ("Extracting", layer(1), 10, 10),
    ("Pull complete", layer(1)),
    ("Digest: sha256:0",),
    ("Status: Downloaded newer image for busybox:1",),
]


def test_a_pipe_gets_dockers_lines(fake, client, tmp_path):
    docker = shutil.which("docker")
    clients = [client] + ([Cli(docker, client.host, client.environment)] if docker else [])
    said = []
    for each in clients:
        process = subprocess.Popen(each.argv("pull", "busybox:1"), stdout=subprocess.PIPE, text=True, env=each.environment)
        for message in MESSAGES:
            fake.say(*message)
        fake.end()
        said.append(process.communicate(timeout=30 * SLOWNESS)[0])
        assert process.returncode == 0
    assert said[0].splitlines()[-1] == "docker.io/library/busybox:1" and "Downloading" not in said[0]
    assert len(set(said)) == 1, said


def test_load(fake, client, tmp_path):
    file = tmp_path / "image.tar"
    file.write_bytes(b"\0" * 1024)
    view = View(client, "load", "-i", str(file))
    fake.say("Loading layer", layer(1), 5_000_000, 10_000_000)
    view.shows(rf"{layer(1)}: Loading layer \[.*\] +5MB/10MB", "0 of 1 layer   5MB of 10MB.*")
    fake.say("Loading layer", layer(1), 10_000_000, 10_000_000)
    fake.messages.put({"stream": "Loaded image: x:1\n"})
    fake.end()
    lines = view.ends()
    assert lines[-1] == "Loaded image: x:1" and lines[-2].startswith("1 layer   10MB in")
