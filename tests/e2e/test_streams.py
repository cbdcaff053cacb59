"""attach, exec, logs and terminals."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

from conftest import SLOWNESS, Failed, wait_until


class Terminal:
    """A command on a pseudo terminal."""

    def __init__(self, cli, *arguments, rows=24, columns=80):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.process = subprocess.Popen(
            cli.argv(*arguments), stdin=slave, stdout=slave, stderr=slave, env=cli.environment, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def write(self, text):
        os.write(self.master, text.encode())

    def expect(self, text, timeout=10):
        end = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"no {text!r} within {timeout} s in {self.seen!r}")
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                raise Failed(f"the end before {text!r} in {self.seen!r}") from None
        self.seen = self.seen.split(text, 1)[1]

    def expect_end(self, timeout=30):
        """Reads until the last process has let go of the terminal."""
        while select.select([self.master], [], [], timeout)[0]:
            try:
                self.seen += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return
        raise Failed(f"no end within {timeout} s behind {self.seen!r}")

    def close(self):
        code = self.process.wait(10)
        os.close(self.master)
        return code


def test_terminal(cli):
    terminal = Terminal(cli, "run", "--rm", "-it", "busybox", "sh", rows=30, columns=100)
    terminal.write("tty; stty size\n")
    terminal.expect("/dev/pts/0")
    terminal.expect("30 100")
    for rows in range(40, 50):  # a client that is still busy with its start misses the signal, and nothing tells when
        terminal.resize(rows, 120)
        terminal.write("sleep 0.2; stty size\n")
        try:
            terminal.expect(f"{rows} 120", timeout=1)
            break
        except Failed:
            pass
    else:
        raise Failed(f"no resize was seen in {terminal.seen!r}")
    terminal.write("exit 5\n")
    assert terminal.close() == 5


def test_detach_keys_and_attach_again(cli):
    terminal = Terminal(cli, "run", "-it", "--name", "ddd", "busybox", "sh")
    terminal.write("echo re''ady\n")
    terminal.expect("ready")
    terminal.write("\x10\x11")
    terminal.close()
    assert cli("inspect", "-f", "{{.State.Status}}", "ddd") == "running"
    again = Terminal(cli, "attach", "--detach-keys", "ctrl-a,x", "ddd")
    again.write("echo ag''ain\n")
    again.expect("again")
    again.write("\x01x")
    again.close()
    assert cli("inspect", "-f", "{{.State.Status}}", "ddd") == "running"


def test_exec(cli):
    cli("run", "-d", "--name", "xxx", "-e", "A=container", "busybox", "sleep", "100")
    assert cli("exec", "xxx", "echo", "hi") == "hi"
    assert cli("exec", "-e", "A=exec", "xxx", "sh", "-c", "echo $A") == "exec"
    assert cli("exec", "-w", "/tmp", "xxx", "pwd") == "/tmp"
    assert cli("exec", "-u", "alice", "xxx", "id", "-un") == "alice"
    assert cli("exec", "-i", "xxx", "cat", input="through") == "through"
    assert cli.run("exec", "xxx", "sh", "-c", "exit 9").code == 9
    assert cli.run("exec", "xxx", "no-such").code == 127
    assert cli.run("exec", "xxx", "/etc/passwd").code == 126
    assert cli("exec", "xxx", "cat", "/proc/1/comm") == "sleep"
    cli("exec", "-d", "xxx", "touch", "/made")
    wait_until(lambda: cli.run("exec", "xxx", "test", "-f", "/made").code == 0, what="the detached exec")
    unknown = cli.run("exec", "-u", "mallory", "xxx", "true")
    assert unknown.code != 0 and "unable to find user mallory" in unknown.out + unknown.err
    cli("stop", "-t", "0", "xxx")
    assert "is not running" in cli.fails("exec", "xxx", "true")


def test_exec_terminal(cli):
    cli("run", "-d", "--name", "xxx", "busybox", "sleep", "100")
    terminal = Terminal(cli, "exec", "-it", "xxx", "sh", rows=31, columns=90)
    terminal.write("stty size; echo $TERM\n")
    terminal.expect("31 90")
    terminal.expect("xterm")
    terminal.write("exit 3\n")
    assert terminal.close() == 3


def test_exec_runs_in_the_containers_cgroup(cli):
    cli("run", "-d", "--name", "xxx", "--pids-limit", "10", "busybox", "sleep", "100")
    result = cli.run("exec", "xxx", "sh", "-c", "i=0; while [ $i -lt 20 ]; do sleep 5 & i=$((i+1)); done; wait")
    assert "can't fork" in result.err


def test_large_output_is_complete(cli):
    result = cli.run("run", "--rm", "busybox", "sh", "-c", "seq 1 200000", timeout=60)
    lines = result.out.split()
    assert len(lines) == 200000 and lines[-1] == "200000"


def test_many_attached_at_once(daemon):
    cli = daemon.corten
    cli("run", "-d", "-i", "--name", "mmm", "busybox", "sh", "-c", "read line; seq 1 1000; echo $line")
    readers = [cli.popen("attach", "--no-stdin", "mmm", stdout=subprocess.PIPE, text=True) for _ in range(10)]
    time.sleep(0.5)  # ten clients attach; there is no event that says so
    writer = cli.popen("attach", "mmm", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    writer.stdin.write("the end\n")
    writer.stdin.flush()
    expected = "".join(f"{n}\n" for n in range(1, 1001)) + "the end\n"
    # As in Docker, an attach without StdinOnce ends with its input: it stays open until all has come.
    assert writer.stdout.read() == expected
    assert writer.wait(20) == 0
    writer.stdin.close()
    writer.stdout.close()
    for reader in readers:
        assert reader.communicate(timeout=20)[0] == expected


def test_slow_reader_holds_up_nobody(daemon):
    cli = daemon.corten
    cli("run", "-d", "-i", "--name", "slow", "busybox", "sh", "-c", "read x; dd if=/dev/zero bs=1M count=30 2>/dev/null; touch /done; cat")
    sleeper = cli.popen("attach", "--no-stdin", "slow", stdout=subprocess.PIPE)
    time.sleep(0.3)  # see above
    with cli.popen("attach", "slow", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as go:
        go.stdin.write(b"\n")
        go.stdin.flush()
        try:
            done = lambda: cli.run("exec", "slow", "test", "-f", "/done").code == 0
            wait_until(done, 15 * SLOWNESS, "the writer to finish")
        finally:
            go.kill()
    # What the slow one has not read yet is kept for it.
    received = 0
    while received < 30 << 20:
        chunk = sleeper.stdout.read1(1 << 20)
        assert chunk, f"cut off after {received} bytes"
        received += len(chunk)
    sleeper.kill()
    sleeper.wait()
    sleeper.stdout.close()


def test_logs(cli):
    cli("run", "--name", "lll", "busybox", "sh", "-c", "for i in 1 2 3; do echo out$i; echo err$i >&2; done")
    result = cli.run("logs", "lll")
    assert result.out.split() == ["out1", "out2", "out3"] and result.err.split() == ["err1", "err2", "err3"]
    assert len(cli.run("logs", "--tail", "1", "lll").out.split() + cli.run("logs", "--tail", "1", "lll").err.split()) == 1
    stamped = cli.run("logs", "-t", "lll").out.splitlines()[0]
    assert stamped.endswith(" out1") and stamped[10] == "T"
    time_of_second = cli.run("logs", "-t", "lll").out.splitlines()[1].split()[0]
    assert "out1" not in cli.run("logs", "--since", time_of_second, "lll").out
    assert "out3" not in cli.run("logs", "--until", time_of_second, "lll").out
    cli.fails("logs", "--since", "yesterday", "lll")


def test_logs_follow(cli):
    cli("run", "-d", "-i", "--name", "fff", "busybox", "sh", "-c", "while read line; do echo got $line; done")
    follower = cli.popen("logs", "-f", "fff", stdout=subprocess.PIPE, text=True)
    with cli.popen("attach", "fff", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as writer:
        for word in ("one", "two"):
            writer.stdin.write(word + "\n")
            writer.stdin.flush()
            assert follower.stdout.readline() == f"got {word}\n"
        writer.kill()
    cli("stop", "-t", "0", "fff")
    assert follower.wait(10) == 0
    follower.stdout.close()


def test_log_rotation(cli):
    cli("run", "--name", "rot", "--log-opt", "max-size=10k", "--log-opt", "max-file=3", "busybox", "sh", "-c", "seq 1 2000")
    path = cli("inspect", "-f", "{{.LogPath}}", "rot")
    assert os.path.exists(path + ".1") and not os.path.exists(path + ".3")
    assert os.path.getsize(path) <= 11000
    lines = cli("logs", "rot").split()
    assert lines[-1] == "2000" and lines == [str(n) for n in range(int(lines[0]), 2001)]


def test_log_is_dockers_json(cli):
    cli("run", "--name", "jjj", "busybox", "echo", "a<b")
    with open(cli("inspect", "-f", "{{.LogPath}}", "jjj")) as file:
        record = json.loads(file.readline())
    assert record["log"] == "a<b\n" and record["stream"] == "stdout" and record["time"].endswith("Z")


def test_log_drivers(cli):
    cli("run", "--name", "local", "--log-driver", "local", "busybox", "echo", "text")
    assert cli("logs", "local") == "text"
    assert cli("run", "--name", "none", "--log-driver", "none", "busybox", "echo", "text") == "text"
    assert "does not support reading" in cli.fails("logs", "none")
    cli.fails("run", "--log-driver", "carrier-pigeon", "busybox", "true")
    cli.fails("run", "--log-opt", "max-size=many", "busybox", "true")
    cli.fails("run", "--log-opt", "no-such-option=1", "busybox", "true")


def test_syslog(daemon, tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "log"))
        receiver.settimeout(10)
        daemon.corten("run", "--log-driver", "syslog", "--log-opt", f"syslog-address=unixgram://{tmp_path}/log",
                      "--log-opt", "tag=mytag", "busybox", "echo", "to syslog")  # fmt: skip
        message = receiver.recv(4096).decode()
    assert "mytag" in message and message.rstrip().endswith("to syslog")
    # A copy is kept here, so that `logs` works with every driver.
    assert daemon.corten("logs", daemon.corten("ps", "-lq")) == "to syslog"


def test_a_terminal_is_given_back_when_output_breaks(corten):
    """Standard output that nobody reads any more must not leave the terminal in raw mode."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        corten.argv("run", "--rm", "-it", "busybox", "echo", "hi"), stdin=slave, stdout=writer, stderr=subprocess.PIPE,
        text=True, env=corten.environment, start_new_session=True,
    )  # fmt: skip
    os.close(writer)
    assert process.communicate(timeout=20)[1] == "write /dev/stdout: broken pipe\n" and process.returncode == 1
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)
