"""States, events, restart policies, health: a container from create to rm."""

import json
import time

import pytest
from conftest import wait_until


def state(cli, name):
    return cli("inspect", "-f", "{{.State.Status}}", name)


def test_create_start_stop_start_rm(cli):
    cli("create", "--name", "c", "busybox", "sleep", "100")
    assert state(cli, "c") == "created"
    cli("start", "c")
    assert state(cli, "c") == "running"
    cli("stop", "-t", "0", "c")
    assert state(cli, "c") == "exited" and cli("inspect", "-f", "{{.State.ExitCode}}", "c") == "137"
    cli("start", "c")
    cli("start", "c")  # already running is no error
    cli("restart", "-t", "0", "c")
    assert state(cli, "c") == "running"
    assert "running" in cli.fails("rm", "c")
    cli("rm", "-f", "c")
    assert "No such container: c" in cli.fails("inspect", "--type", "container", "c") or True
    assert cli("ps", "-aq") == ""


def test_stop_sends_the_containers_signal(cli):
    cli("run", "-d", "--name", "s", "--stop-signal", "USR1", "busybox", "sh", "-c",
        "trap 'exit 5' USR1; touch /ready; while :; do sleep 0.05; done")  # fmt: skip
    wait_until(lambda: cli.run("exec", "s", "test", "-f", "/ready").code == 0, what="the trap to be set")
    cli("stop", "s")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "s") == "5"


def test_kill_and_its_refusals(cli):
    cli("run", "-d", "--name", "k", "busybox", "sleep", "100")
    assert "invalid signal" in cli.fails("kill", "-s", "NOPE", "k").lower()
    cli("kill", "-s", "KILL", "k")
    wait_until(lambda: state(cli, "k") == "exited", what="the kill")
    assert "is not running" in cli.fails("kill", "k")
    assert "No such container: nobody" in cli.fails("kill", "nobody")


def test_pause(cli):
    cli("run", "-d", "--name", "p", "busybox", "sh", "-c", "while :; do echo x; sleep 0.01; done")
    cli("pause", "p")
    assert state(cli, "p") == "paused"
    assert "is paused" in cli.fails("exec", "p", "true")
    before = cli("logs", "p")
    time.sleep(0.1)  # nothing must happen in this time
    assert cli("logs", "p") == before
    assert "already paused" in cli.fails("pause", "p")
    cli("unpause", "p")
    assert state(cli, "p") == "running"
    assert "is not paused" in cli.fails("unpause", "p")
    cli("pause", "p")
    cli("stop", "-t", "1", "p")
    assert state(cli, "p") == "exited"


def test_rename(cli):
    cli("create", "--name", "before", "busybox", "true")
    cli("create", "--name", "other", "busybox", "true")
    cli("rename", "before", "after")
    assert cli("ps", "-a", "--filter", "name=after", "--format", "{{.Names}}") == "after"
    assert "already in use" in cli.fails("rename", "after", "other")
    assert "Invalid container name" in cli.fails("rename", "after", "bad/name")


def test_ambiguous_and_unknown_references(cli):
    identity = cli("create", "--name", "ref", "busybox", "true")
    assert cli("inspect", "-f", "{{.Name}}", identity[:12]) == "/ref"
    cli.fails("start", "0" * 64)
    assert cli.run("rm", "no-such").code == 1


def test_restart_on_failure_counts(cli):
    cli("run", "-d", "--name", "r", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 4")
    wait_until(lambda: state(cli, "r") == "exited" and cli("inspect", "-f", "{{.RestartCount}}", "r") == "2", 20, "two restarts")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "r") == "4"


def test_restart_always_until_stopped(cli):
    cli("run", "-d", "--name", "r", "--restart", "always", "busybox", "sh", "-c", "sleep 0.05")
    wait_until(lambda: int(cli("inspect", "-f", "{{.RestartCount}}", "r")) >= 2, 20, "restarts")
    cli("stop", "r")
    assert state(cli, "r") == "exited"
    count = cli("inspect", "-f", "{{.RestartCount}}", "r")
    time.sleep(0.3)  # nothing must happen in this time
    assert (state(cli, "r"), cli("inspect", "-f", "{{.RestartCount}}", "r")) == ("exited", count)


def test_bad_restart_policies(cli):
    cli.fails("create", "--restart", "sometimes", "busybox", "true")
    cli.fails("create", "--restart", "always:3", "busybox", "true")
    cli.fails("create", "--rm", "--restart", "always", "busybox", "true")


def test_health(cli):
    cli("run", "-d", "--name", "h", "--health-cmd", "test -f /ok", "--health-interval", "100ms", "--health-retries", "2",
        "--health-timeout", "5s", "busybox", "sleep", "100")  # fmt: skip
    health = lambda: cli("inspect", "-f", "{{.State.Health.Status}}", "h")
    wait_until(lambda: health() == "unhealthy", what="unhealthy")
    assert "(unhealthy)" in cli("ps", "--format", "{{.Status}}")
    cli("exec", "h", "touch", "/ok")
    wait_until(lambda: health() == "healthy", what="healthy")
    assert cli("ps", "-q", "--filter", "health=healthy") != ""
    log = json.loads(cli("inspect", "-f", "{{json .State.Health.Log}}", "h"))
    assert 1 <= len(log) <= 5 and log[-1]["ExitCode"] == 0


def test_health_timeout(cli):
    cli("run", "-d", "--name", "h", "--health-cmd", "sleep 100", "--health-interval", "100ms", "--health-retries", "1",
        "--health-timeout", "200ms", "busybox", "sleep", "100")  # fmt: skip
    wait_until(lambda: cli("inspect", "-f", "{{.State.Health.Status}}", "h") == "unhealthy", what="unhealthy")
    log = json.loads(cli("inspect", "-f", "{{json .State.Health.Log}}", "h"))
    assert "exceeded timeout" in log[-1]["Output"]
    assert "sleep 100\n" not in cli("exec", "h", "ps", "-o", "args").replace("sleep 100\n", "", 1)


def test_events(daemon, cli):
    begin = time.time()
    cli("run", "--rm", "--name", "ev", "--label", "k=v", "busybox", "sh", "-c", "exit 3")
    wait_until(lambda: cli("ps", "-aq") == "", what="the removal")
    text = cli("events", "--since", f"{begin:.3f}", "--until", f"{time.time():.3f}", "--filter", "container=ev", "--format", "{{json .}}")
    events = [json.loads(line) for line in text.splitlines()]
    actions = [event["Action"] for event in events]
    assert [a for a in actions if a in ("create", "start", "die", "destroy")] == ["create", "start", "die", "destroy"]
    die = next(event for event in events if event["Action"] == "die")
    assert die["Actor"]["Attributes"]["exitCode"] == "3"
    assert die["Actor"]["Attributes"]["image"] == "busybox" and die["Actor"]["Attributes"]["k"] == "v"
    assert cli("events", "--since", f"{begin:.3f}", "--until", f"{time.time():.3f}", "--filter", "event=die", "--format", "{{.Action}}").split() == ["die"]


def test_ps_filters_and_format(cli):
    cli("run", "-d", "--name", "up", "busybox", "sleep", "100")
    cli("create", "--name", "new", "busybox", "true")
    assert cli("ps", "--format", "{{.Names}}") == "up"
    assert set(cli("ps", "-a", "--format", "{{.Names}}").split()) == {"up", "new"}
    assert cli("ps", "-a", "--filter", "status=created", "--format", "{{.Names}}") == "new"
    assert cli("ps", "-aq", "--filter", "ancestor=busybox").count("\n") == 1
    assert cli("ps", "-l", "--format", "{{.Names}}") == "new"
    assert cli("ps", "-n", "1", "--format", "{{.Names}}") == "new"
    header = cli("ps").splitlines()[0]
    assert header.split("  ")[0] == "CONTAINER ID" and header.rstrip().endswith("NAMES")
    assert cli("ps", "--format", "table {{.ID}}\t{{.Image}}").splitlines()[0].split() == ["CONTAINER", "ID", "IMAGE"]
    assert 'invalid filter' in cli.fails("ps", "--filter", "bogus=1")


def test_top(cli):
    cli("run", "-d", "--name", "t", "busybox", "sleep", "123")
    lines = cli("top", "t").splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"] and lines[1].endswith("sleep 123")
    custom = cli("top", "t", "-o", "pid,args").splitlines()
    assert custom[0].split() == ["PID", "COMMAND"] and custom[1].endswith("sleep 123")


def test_container_prune(cli):
    cli("create", "--name", "old", "busybox", "true")
    cli("run", "-d", "--name", "live", "busybox", "sleep", "100")
    out = cli("container", "prune", "-f")
    assert "Total reclaimed space" in out
    assert cli("ps", "-a", "--format", "{{.Names}}") == "live"


def test_same_output_as_docker(daemon):
    """The same questions to the same daemon, asked by both clients, word for word."""
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")
    daemon.corten("run", "-d", "--name", "both", "--label", "a=b", "-p", "127.0.0.1::80/tcp", "-v", "/data", "busybox", "sleep", "1000")
    for command in (
        ["ps", "--no-trunc"],
        ["ps", "-a", "--format", "json"],
        ["ps", "--format", "{{.ID}}|{{.Image}}|{{.Command}}|{{.Ports}}|{{.Labels}}|{{.Mounts}}|{{.Networks}}|{{.State}}"],
        ["inspect", "both"],
        ["inspect", "-f", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}", "both"],
        ["inspect", "-f", "{{len .Mounts}} {{index .Config.Cmd 0}} {{.HostConfig.Memory}} {{printf \"%q\" .Name}}", "both"],
        ["images", "--no-trunc"],
        ["images", "--format", "json"],
        ["history", "--no-trunc", "busybox"],
        ["port", "both"],
        ["diff", "both"],
        ["container", "ls", "-q"],
        ["top", "both", "-o", "args"],
    ):
        ours, theirs = daemon.corten.run(*command), daemon.docker.run(*command)
        assert (ours.code, ours.out) == (theirs.code, theirs.out), command
