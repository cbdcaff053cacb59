"""The same command lines to the same daemon, typed at both clients: what they print, where, and how they end."""

import difflib
import re
import subprocess
import termios
import time

import pytest
from conftest import Cli, wait_until
from test_streams import Terminal


@pytest.fixture
def both(daemon, tmp_path):
    """Runs a shell line with each client in place of `@` and tells how they differ."""
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")
    daemon.corten(
        "run", "-d", "--name", "up", "--label", "a=b", "--label", "z=y", "-p", "127.0.0.1::80/tcp", "-v", "/data",
        "-e", "FOO=bar", "busybox", "sleep", "1000",
    )  # fmt: skip
    daemon.corten("run", "--name", "down", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    daemon.corten("create", "--name", "new", "busybox", "true")

    def plain(text, program):
        text = text.replace(str(program), "corten").replace("docker", "corten").replace("Docker", "Corten")
        # What the docker client's own copying logs to itself comes or not as its threads happen to run.
        text = re.sub(r"^time=.*\n", "", text, flags=re.MULTILINE)
        return re.sub(r"\b[0-9a-f]{64}\b", "<id>", text)

    def run(client, line):
        # A line that does not say otherwise is the client's own arguments.
        line = line if "@" in line else "@ " + line
        shell = line.replace("@", f"{client.program} -H {client.host}")
        process = subprocess.run(
            ["bash", "-c", shell], cwd=tmp_path, env=client.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return (
            f"exit {process.returncode}\n--- out\n{plain(process.stdout, client.program)}"
            f"--- err\n{plain(process.stderr, client.program)}"
        )

    def differences(lines):
        found = []
        for line in lines:
            # An age may tick between the two questions, and a column's width with it: hence a second try.
            for _ in range(3):
                ours, theirs = run(daemon.corten, line), run(daemon.docker, line)
                if ours == theirs:
                    break
            else:
                diff = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "docker", "corten", lineterm="", n=0)
                found.append("\n".join([f"$ {line}", *diff]))
        return found

    return differences


HELP = """attach commit cp create diff events exec export history import inspect kill load login logout logs pause port ps
pull push rename restart rm rmi run save search start stats stop tag top unpause update wait images version info""".split()


def test_help(both):
    lines = [f"{command} --help" for command in HELP]
    lines += [f"container {command} --help" for command in ("ls", "run", "prune", "inspect", "rm", "exec", "logs")]
    lines += [f"image {command} --help" for command in ("ls", "rm", "prune", "inspect", "history", "save", "pull", "push")]
    lines += [f"system {command} --help" for command in ("df", "prune", "info", "events")]
    lines += ["container", "container --help", "help container", "help ps"]
    assert not both(lines)


def test_usage_errors(both):
    lines = [command for command in HELP if command not in (
        "ps", "images", "version", "info", "events", "stats", "load", "login", "logout")]  # fmt: skip
    lines += [f"{command} --bogus" for command in HELP]
    lines += """attach a b
cp a
cp a b
logs a b
ps x
ps -Z
ps --last x
ps --format
images --bogus
container bogus
bogus
pull a b
push a b
rename a
tag a
update up
run -Z
-l bogus ps
--bogus
--context nope ps
@ -H tcp://127.0.0.1:1 ps""".splitlines()
    assert not both(lines)


def test_lists(both):
    lines = """ps
ps -a
ps -aq
ps -as
ps -a --no-trunc
ps -a --format json
ps -a --format pretty
ps -a --format raw
ps -a --format '{{.ID'
ps -a --format '{{.Bogus}}'
ps -a --format '{{.Label "a"}} {{.Labels}} {{.LocalVolumes}} {{.Networks}} {{.Mounts}} {{.Ports}} {{.State}}'
ps -a --format '{{.Command}} {{.Image}} {{.Names}} {{.Platform}} {{.Size}}'
ps -a --format '{{upper .Names}} {{title .State}} {{truncate .ID 3}} {{pad .Names 2 3}} {{join (split .Image ":") "-"}}'
ps -a --format 'table {{.Names}} {{.RunningFor}}'
ps -a --filter status=bogus
ps -a --filter exited=3 -q
ps -a --filter exited=x
ps -a --filter name=^up$ -q
ps -a --filter label=a=b -q
ps -a --filter ancestor=busybox -q
ps -a --filter since=down -q
ps -a --filter since=nope
ps -a --filter volume=/data -q
ps -a --filter foo
ps -a --filter foo=bar
container ls
images
images -a
images --digests
images --no-trunc
images --filter reference='busy*'
images --filter dangling=maybe
images --filter since=nope
images --format '{{.Repository}} {{.Tag}} {{.ID}} {{.Digest}} {{.Size}} {{.Containers}} {{.SharedSize}} {{.UniqueSize}}'
images --format '{{.Nope}}'
images nope
history busybox
history --no-trunc --format json busybox
history -H=false -q busybox
system df
system df -v
system df --format json
system df -v --format '{{range .Images}}{{.Repository}}{{end}} {{range .Volumes}}{{.Links}}{{.Driver}}{{end}}' | xargs
system df --format 'table {{.Type}}'
events --since x
events --since 1h --until 0s --filter event=die
events --since 1h --until 0s --filter event=die --format '{{.Type}} {{.Action}} {{.TimeNano}} {{.Status}} {{.From}}'
events --since 1h --until 0s --filter container=down --format json
stats --no-stream --no-trunc --format '{{.ID}} {{.Name}} {{.PIDs}}' down
stats --no-stream nope
version --format '{{.Server.Version}} {{.Client.Os}} {{.Server.APIVersion}}'
info --format '{{.Driver}} {{.Containers}} {{.NCPU}}'""".splitlines()
    # Docker's client takes "until 0s" for the second that is going on, so what happened in it is not in its list.
    made = int(time.time())
    wait_until(lambda: int(time.time()) > made, what="the second to be over")
    assert not both(lines)


def test_inspect(both):
    lines = """inspect up
inspect nope up -f '{{.Id}}'
inspect -s up -f '{{.SizeRw}} {{.SizeRootFs}}'
inspect -s busybox -f '{{.Id}}'
inspect --type image up
inspect --type bogus up
inspect --type network bridge -f '{{.Name}}'
inspect bridge -f '{{.Driver}}'
inspect up -f '{{.Nope}}'
inspect up -f '{{.State.Nope}}'
inspect up -f '{{'
inspect up down -f 'json'
inspect up -f '{{json .Config}}'
inspect up -f '{{.State}}'
inspect up -f '{{printf "%v" .State}}'
inspect up -f '{{.Config}}'
inspect up -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}'
inspect up -f '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostIp}}'
inspect up -f '{{len .Mounts}} {{index .Config.Cmd 0}} {{.HostConfig.Memory}} {{printf "%q" .Name}}'
container inspect -s up
image inspect busybox
image inspect nope
port up
port up 80
port up 81
port up abc
diff up
top up -o args
top down
logs down
logs --tail 1 down
logs --since x down""".splitlines()
    assert not both(lines)


def test_registries(both):
    """What needs no registry. Each client has a configuration of its own, begun anew for each line."""
    lines = """pull -a busybox:1
pull UPPER
pull a:b:c
push UPPER
push -a busybox:1
login -p a --password-stdin
login --password-stdin
login -u ''
login -u a -p ''
login -u a
login nothing.example
logout
logout https://nothing.example:5000/v2
logout nothing.example""".splitlines()
    stored = """'{"auths":{"a.example":{"auth":"YTpi"},"https://b.example/v1/":{"auth":"YTpi"}},"psFormat":"x"}'"""
    lines += [f"echo {stored} >$DOCKER_CONFIG/config.json; @ logout {server}; cat $DOCKER_CONFIG/config.json"
              for server in ("a.example", "https://b.example/v1/")]  # fmt: skip
    fresh = "export DOCKER_CONFIG=$PWD/registries; rm -rf $DOCKER_CONFIG; mkdir $DOCKER_CONFIG; "
    assert not both([fresh + (line if "@ " in line else "@ " + line) for line in lines])


def test_run_refusals(both):
    lines = """-v /a:/b:/c:/d
-v /a:
-v :/a
-v ''
-v /tmp:rel
--mount ''
--mount type=bogus,target=/x
--mount type=bind,src=/nonexist,target=/x
--mount type=tmpfs,target=/x,readonly=maybe
-p abc
-p 99999:80
-p 1-3:1-2
--expose 90-80
-u nope
-w rel
--cpus x
--cpus 1 --cpu-quota 1000
-m 1k
-m 10m --memory-swap 5m
--cap-add BOGUS
--security-opt bogus=1
--pid bogus
--network container:
--network-alias x
--ip 1.2.3.4
--dns bad
--add-host a:bad
--sysctl bad
--ulimit nofile=5:3
--restart bogus
--rm --restart always
--health-retries -1
--env-file /nonexistent
--platform a/b/c/d
--name 'bad name'
-a bogus
-d -a stdout
--log-driver bogus""".splitlines()
    assert not both([f"run {flags} busybox true" for flags in lines])


def test_streams_and_pipes(both):
    lines = r"""run --rm busybox sh -c 'echo a; echo b >&2; exit 42'
run --rm busybox nope
run --rm busybox /etc
echo hello | @ run --rm -i busybox cat
echo hello | @ run --rm busybox cat
echo hello | @ run --rm -i -a stdin -a stdout busybox cat
@ run --rm -it busybox cat </dev/null
@ run --rm -t busybox echo hi | od -c | head -2
@ run --rm busybox seq 1 1000000 | head -1; echo ${PIPESTATUS[@]}
ps -a | head -1
printf 'A=1\n#c\n\nHOME\n  X=9\n' > ef; @ run --rm --hostname h --env-file ef busybox env
printf 'B = 2\n' > ef; @ run --rm --env-file ef busybox env
rm -f cid; @ run --rm --cidfile cid busybox true; wc -c cid
touch cid; @ run --rm --cidfile cid busybox true
exec up sh -c 'echo a; echo b >&2; exit 7'
echo hi | @ exec -i up cat
exec up nope
exec -d up nope
exec -u nope up id
timeout -s TERM 1 @ run --rm busybox sh -c 'trap "echo term; exit 8" TERM; sleep 5 & wait'
cp up:/etc/passwd - | tar tv
cp up:/etc/nope -
cp nofile up:/tmp
echo x > pw; @ cp pw up:/nope/x/
echo x > pw; @ cp - up:/tmp </dev/null
echo x > pw; tar c pw | @ cp - up:/etc/passwd
cp up:/etc/passwd /nonexistent/x/y
export -o /nonexistent/x up
save -o . busybox
save --platform x/y/z/w busybox
load </dev/null
echo garbage | @ load
import /nonexistent
system prune
system prune --volumes --filter until=1h
echo n | @ system prune -a
echo n | @ container prune --filter label=x
system prune -f --filter label=none
rm nope up
rmi nope
wait down nope
kill -s FOO up
stop nope
start nope""".splitlines()
    assert not both(lines)


def on_a_terminal(cli, *arguments, **environment):
    """A command's exit code, and all that a terminal of 24 by 80 gets of it."""
    client = Cli(cli.program, cli.host, {**cli.environment, "TERM": "xterm", **environment})
    terminal = Terminal(client, *arguments)
    terminal.expect_end()
    return terminal.close(), terminal.seen


@pytest.mark.parametrize(
    "line, label",
    [
        ("cp bb.tar up:/tmp", "Copying to container - "),
        ("cp up:/bin out", "Copying from container - "),
        ("save -o image.tar busybox", "Saving"),
        ("export -o root.tar up", "Exporting"),
        ("import bb.tar", "Importing  ["),
        ("load -i image.tar", "Loading  ["),
    ],
)
def test_progress_on_a_terminal_only(daemon, busybox_tar, tmp_path, monkeypatch, line, label):
    corten = daemon.corten
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bb.tar").write_bytes(busybox_tar.read_bytes())
    corten("run", "-d", "--name", "up", "busybox", "sleep", "1000")
    corten("save", "-o", "image.tar", "busybox")
    code, seen = on_a_terminal(corten, *line.split())
    assert code == 0 and f"\x1b[2K{label}" in seen
    last = seen.rsplit("\x1b[2K", 1)[1]
    assert label not in last, "the line is gone in the end"
    code, seen = on_a_terminal(corten, *line.split(), TERM="dumb")
    assert code == 0 and "\x1b" not in seen
    piped = corten.run(*line.split())
    assert piped.code == 0 and "\x1b" not in piped.out + piped.err and label not in piped.err


def test_colour_on_a_terminal_only(corten):
    corten("create", "--name", "new", "--label", "evil=\x1b]0;title\x07\x1b[2J", "busybox", "true")
    labels = ("ps", "-a", "--format", "table {{.Names}}\t{{.Labels}}")
    assert on_a_terminal(corten, "rm", "nope")[1] == "\x1b[31mError response from daemon: No such container: nope\x1b[0m\r\n"
    assert on_a_terminal(corten, *labels)[1].splitlines() == [
        "\x1b[1mNAMES     LABELS\x1b[0m", "new       evil=?]0;title??[2J",
    ]  # fmt: skip
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for command in (("rm", "nope"), labels):
            assert "\x1b" not in on_a_terminal(corten, *command, **environment)[1]
    assert "\x1b" not in corten(*labels)
    assert corten.fails("rm", "nope") == "Error response from daemon: No such container: nope"


def test_login_asks_at_a_terminal(corten):
    """The password is not shown, and the terminal gets its echo back, however the question ends."""
    client = Cli(corten.program, corten.host, {**corten.environment, "TERM": "xterm"})

    def ask(answer):
        terminal = Terminal(client, "login", "127.0.0.1:1")
        terminal.expect("Username: ")
        terminal.write("somebody\n")
        terminal.expect("Password: ")
        assert not termios.tcgetattr(terminal.master)[3] & termios.ECHO
        terminal.write(answer)
        terminal.expect_end()
        shown = termios.tcgetattr(terminal.master)[3] & termios.ECHO
        return terminal.close(), terminal.seen, bool(shown)

    code, seen, shown = ask("hush\n")
    assert code == 1 and shown and "hush" not in seen and "127.0.0.1:1" in seen
    code, seen, shown = ask("hu\x03")
    assert code == 1 and shown and "hu" not in seen and "prompt terminated" in seen
    assert ask("\n")[1].endswith("Error: Password Required\x1b[0m\r\n")
