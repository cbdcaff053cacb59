"""What the specification's process and root say, seen from inside."""

import array
import json
import os
import socket
import subprocess

import pytest

from harness import CAPABILITIES


def status_field(text, name):
    for line in text.splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].split()
    raise AssertionError(f"no {name}")


def test_identity_and_place(runtime, bundle):
    bundle.shell("id -u; id -g; id -G; umask; pwd; echo $A; hostname")
    bundle.config["process"].update(user={"uid": 1000, "gid": 1001, "additionalGids": [5, 70000], "umask": 0o27}, cwd="/tmp",
                                    env=["PATH=/bin", "A=b c"])
    assert runtime.run(bundle).stdout.splitlines() == ["1000", "1001", "1001 5 70000", "0027", "/tmp", "b c", "tested"]


def test_capabilities_are_what_was_asked(runtime, bundle):
    text = runtime.run(bundle.process("cat", "/proc/self/status")).stdout
    wanted = sum(1 << number for number in (29, 5, 10))
    assert len(CAPABILITIES) == 3
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status_field(text, name)[0], 16) == wanted, name
    for name in ("CapInh", "CapAmb"):
        assert int(status_field(text, name)[0], 16) == 0, name
    assert status_field(text, "NoNewPrivs") == ["1"]


def test_ambient_capabilities_for_a_user(runtime, bundle):
    sets = bundle.config["process"]["capabilities"]
    sets["inheritable"] = sets["ambient"] = ["CAP_NET_BIND_SERVICE"]
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    text = runtime.run(bundle.process("cat", "/proc/self/status")).stdout
    assert int(status_field(text, "CapAmb")[0], 16) == 1 << 10
    assert int(status_field(text, "CapEff")[0], 16) == 1 << 10


def test_no_capabilities_at_all(runtime, bundle):
    bundle.config["process"]["capabilities"] = {}
    text = runtime.run(bundle.process("cat", "/proc/self/status")).stdout
    assert int(status_field(text, "CapBnd")[0], 16) == 0
    assert int(status_field(text, "CapEff")[0], 16) == 0


def test_rlimits(runtime, bundle):
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    assert runtime.run(bundle.shell("ulimit -Sn; ulimit -Hn")).stdout.split() == ["100", "200"]


def test_oom_score(runtime, bundle):
    own = int(open("/proc/self/oom_score_adj").read())
    bundle.config["process"]["oomScoreAdj"] = min(own + 100, 1000)
    assert runtime.run(bundle.process("cat", "/proc/self/oom_score_adj")).stdout.strip() == str(min(own + 100, 1000))


def test_namespaces_are_new(runtime, bundle):
    text = runtime.run(bundle.shell("for n in pid ipc uts mnt net; do readlink /proc/self/ns/$n; done; echo $$")).stdout.split()
    own = [os.readlink(f"/proc/self/ns/{name}") for name in ("pid", "ipc", "uts", "mnt", "net")]
    assert len(text) == 6
    assert not set(text) & set(own)
    assert text[-1] == "1"


def test_host_namespaces_and_joined_ones(runtime, bundle):
    namespaces = bundle.config["linux"]["namespaces"]
    namespaces[:] = [n for n in namespaces if n["type"] not in ("ipc", "network")]
    namespaces.append({"type": "network", "path": f"/proc/{os.getpid()}/ns/net"})
    text = runtime.run(bundle.shell("readlink /proc/self/ns/ipc; readlink /proc/self/ns/net")).stdout.split()
    assert text == [os.readlink("/proc/self/ns/ipc"), os.readlink("/proc/self/ns/net")]


def test_readonly_root(runtime, bundle):
    bundle.config["root"]["readonly"] = True
    assert runtime.run(bundle.process("touch", "/x"), check=False).returncode != 0
    assert not (bundle.rootfs / "x").exists()


def test_mounts_and_their_options(runtime, bundle, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("from outside")
    bundle.config["mounts"] += [
        {"destination": "/in", "type": "bind", "source": str(tmp_path / "host"), "options": ["rbind", "ro"]},
        {"destination": "/etc/one", "type": "bind", "source": str(tmp_path / "host/file"), "options": ["bind"]},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "noexec", "mode=700"]},
    ]
    script = "cat /in/file /etc/one; touch /in/x 2>/dev/null || echo refused; grep ' /scratch ' /proc/mounts; stat -c %a /scratch"
    text = runtime.run(bundle.shell(script)).stdout
    assert text.startswith("from outsidefrom outside")
    assert "refused" in text
    assert "noexec" in text and "size=64k" in text
    assert text.strip().endswith("700")


def test_masked_and_readonly_paths(runtime, bundle):
    script = "cat /proc/keys | wc -c; echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused"
    text = runtime.run(bundle.shell(script)).stdout.split()
    assert text[0] == "0"
    assert text[1] == "refused"


def test_sysctl(runtime, bundle):
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "12345"}
    text = runtime.run(bundle.shell("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")).stdout.split()
    assert text == ["1", "12345"]


def test_devices(runtime, bundle):
    bundle.config["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "gid": 7}]
    script = "stat -c '%a %g %t:%T' /dev/mine; dd if=/dev/mine bs=4 count=1 2>/dev/null | wc -c; ls /dev/null /dev/tty /dev/ptmx"
    text = runtime.run(bundle.shell(script)).stdout.splitlines()
    assert text[:2] == ["640 7 1:5", "4"]
    assert text[2:] == ["/dev/null", "/dev/ptmx", "/dev/tty"]


def test_seccomp(runtime, bundle):
    bundle.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    }
    result = runtime.run(bundle.shell("mkdir /tmp/x; grep Seccomp: /proc/self/status"), check=False)
    assert "not implemented" in result.stderr
    assert result.stdout.split() == ["Seccomp:", "2"]


def test_user_namespace(runtime, bundle):
    bundle.config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        bundle.config["linux"][name] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    os.chown(bundle.directory, 0, 0)
    for path in (bundle.directory, *bundle.directory.parents):
        if str(path) != "/" and os.stat(path).st_uid == os.geteuid() and "pytest" in str(path):
            os.chmod(path, 0o755)
    text = runtime.run(bundle.shell("cat /proc/self/uid_map; id -u")).stdout.split()
    assert text == ["0", "200000", "65536", "0"]
    # Its limits hold although it was made by nobody who has a right to its group.
    bundle.config["linux"]["resources"] = {"pids": {"limit": 7}}
    number = runtime.start(bundle.process("sleep", "100"))
    pid = runtime.state(number)["pid"]
    groups = {names: path for _, names, path in (line.split(":", 2) for line in open(f"/proc/{pid}/cgroup").read().splitlines())}
    assert number in groups.get("pids", groups.get("", ""))


def test_missing_program(runtime, bundle):
    result = runtime.run(bundle.process("nosuch"), check=False)
    assert result.returncode != 0
    assert "nosuch" in result.stderr


def test_no_descriptor_leaks(runtime, bundle):
    text = runtime.run(bundle.shell("ls /proc/self/fd")).stdout.split()
    # ls itself opens the directory.
    assert text == ["0", "1", "2", "3"]


def test_preserved_descriptors(runtime, bundle):
    read, write = os.pipe()
    os.set_inheritable(read, True)
    os.write(write, b"hello\n")
    os.close(write)
    command = runtime.command("run", "--preserve-fds", "1", "-b", bundle.shell("cat <&3").save(), runtime.new_id())
    result = subprocess.run(command, preexec_fn=lambda: os.dup2(read, 3), pass_fds=[3], capture_output=True, text=True,
                            stdin=subprocess.DEVNULL, timeout=30)
    os.close(read)
    assert result.stdout == "hello\n", result.stderr


def receive_console(server):
    connection, _ = server.accept()
    with connection:
        fds = array.array("i")
        _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:fds.itemsize])
    return fds[0]


def read_all(fd):
    text = b""
    while True:
        try:
            block = os.read(fd, 4096)
        except OSError:
            return text.decode()
        if not block:
            return text.decode()
        text += block


def test_console_socket(runtime, bundle, tmp_path):
    bundle.shell("tty; stty size; test -t 0 && echo terminal", terminal=True, consoleSize={"height": 20, "width": 90})
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        number = runtime.create(bundle, "--console-socket", tmp_path / "s")
        master = receive_console(server)
    runtime("start", number)
    text = read_all(master).split("\r\n")
    os.close(master)
    assert text[:3] == ["/dev/pts/0", "20 90", "terminal"] or text[:3] == ["/dev/console", "20 90", "terminal"]


def test_terminal_needs_somebody_to_hold_it(runtime, bundle):
    bundle.process("true", terminal=True)
    assert runtime("create", "-b", bundle.save(), runtime.new_id(), check=False).returncode != 0


def test_run_on_our_own_terminal(runtime, bundle):
    master, slave = os.openpty()
    bundle.shell("read line; echo got $line", terminal=True)
    process = subprocess.Popen(runtime.command("run", "-b", bundle.save(), runtime.new_id()), stdin=slave, stdout=slave,
                               stderr=slave, start_new_session=True)
    os.close(slave)
    os.write(master, b"word\r")
    text = read_all(master)
    os.close(master)
    assert process.wait(10) == 0
    assert "got word" in text


class TestExec:
    @pytest.fixture
    def number(self, runtime, bundle):
        return runtime.start(bundle.process("sleep", "100"))

    def test_joins_and_gives_the_exit_code(self, runtime, number):
        assert runtime("exec", number, "hostname").stdout == "tested\n"
        assert runtime("exec", number, "sh", "-c", "exit 9", check=False).returncode == 9
        result = runtime("exec", number, "cat", input=b"in\n")
        assert result.stdout == "in\n"

    def test_takes_flags(self, runtime, number):
        text = runtime("exec", "--cwd", "/tmp", "-e", "X=y", "-u", "12:34", number, "sh", "-c", "pwd; echo $X; id -u; id -g").stdout
        assert text.split() == ["/tmp", "y", "12", "34"]

    def test_user_is_a_number_and_nothing_else(self, only_corten, runtime, number):
        assert runtime("exec", "-u", "1", number, "id", "-u").stdout == "1\n"
        for bad in ("root", "-1", "4294967296", "1:", "x:1"):
            assert runtime("exec", "-u", bad, number, "true", check=False).returncode == 255, bad

    def test_process_file(self, runtime, number, tmp_path):
        process = {"args": ["sh", "-c", "id -u; echo $E; grep CapEff /proc/self/status"], "env": ["PATH=/bin", "E=file"],
                   "cwd": "/", "user": {"uid": 0, "gid": 0}, "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
                                                                              "permitted": ["CAP_KILL"]}}
        (tmp_path / "process.json").write_text(json.dumps(process))
        text = runtime("exec", "--process", tmp_path / "process.json", number).stdout.split()
        assert text == ["0", "file", "CapEff:", "0000000000000020"]

    def test_is_in_the_containers_groups(self, runtime, number):
        init = runtime.state(number)["pid"]
        inside = runtime("exec", number, "cat", "/proc/self/cgroup").stdout
        of_init = open(f"/proc/{init}/cgroup").read()
        named = {line for line in of_init.splitlines() if number in line}
        assert named <= set(inside.splitlines())

    def test_detached(self, runtime, number, tmp_path):
        runtime("exec", "-d", "--pid-file", tmp_path / "pid", number, "sleep", "50")
        pid = int((tmp_path / "pid").read_text())
        assert os.path.exists(f"/proc/{pid}")
        pids = json.loads(runtime("ps", "-f", "json", number).stdout)
        assert pid in pids and len(pids) == 2

    def test_missing_program(self, runtime, number):
        result = runtime("exec", number, "nosuch", check=False)
        assert result.returncode not in (0, 9)
        assert "nosuch" in result.stderr

    def test_keeps_the_containers_restrictions(self, runtime, number):
        text = runtime("exec", number, "cat", "/proc/self/status").stdout
        assert int(status_field(text, "CapBnd")[0], 16) == sum(1 << bit for bit in (29, 5, 10))
        assert status_field(text, "NoNewPrivs") == ["1"]
