"""States, events, restart policies, health: a container from create to rm."""

import json
import time

import pytest
from conftest import wait_until


def state(cli, name):
    return cli("inspect", "-f", "{{.State.Status}}", name)


def test_create_start_stop_start_rm(cli):
    cli("create", "--name", "ccc", "busybox", "sleep", "100")
    assert state(cli, "ccc") == "created"
    cli("start", "ccc")
    assert state(cli, "ccc") == "running"
    cli("stop", "-t", "0", "ccc")
    assert state(cli, "ccc") == "exited" and cli("inspect", "-f", "{{.State.ExitCode}}", "ccc") == "137"
    cli("start", "ccc")
    cli("start", "ccc")  # already running is no error
    cli("restart", "-t", "0", "ccc")
    assert state(cli, "ccc") == "running"
    assert "running" in cli.fails("rm", "ccc")
    cli("rm", "-f", "ccc")
    assert "No such container: ccc" in cli.fails("inspect", "--type", "container", "ccc")
    assert cli("ps", "-aq") == ""


def test_stop_sends_the_containers_signal(cli):
    cli("run", "-d", "--name", "sss", "--stop-signal", "USR1", "busybox", "sh", "-c",
        "trap 'exit 5' USR1; touch /ready; while :; do sleep 0.05; done")  # fmt: skip
    wait_until(lambda: cli.run("exec", "sss", "test", "-f", "/ready").code == 0, what="the trap to be set")
    cli("stop", "sss")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "sss") == "5"


def test_kill_and_its_refusals(cli):
    cli("run", "-d", "--name", "kkk", "busybox", "sleep", "100")
    assert "invalid signal" in cli.fails("kill", "-s", "NOPE", "kkk").lower()
    cli("kill", "-s", "KILL", "kkk")
    wait_until(lambda: state(cli, "kkk") == "exited", what="the kill")
    assert "is not running" in cli.fails("kill", "kkk")
    assert "No such container: nobody" in cli.fails("kill", "nobody")


def test_pause(cli):
    cli("run", "-d", "--name", "ppp", "busybox", "sh", "-c", "while :; do echo x; sleep 0.01; done")
    cli("pause", "ppp")
    assert state(cli, "ppp") == "paused"
    assert "is paused" in cli.fails("exec", "ppp", "true")
    before = cli("logs", "ppp")
    time.sleep(0.1)  # nothing must happen in this time
    assert cli("logs", "ppp") == before
    assert "already paused" in cli.fails("pause", "ppp")
    cli("unpause", "ppp")
    assert state(cli, "ppp") == "running"
    assert "is not paused" in cli.fails("unpause", "ppp")
    cli("pause", "ppp")
    cli("stop", "-t", "1", "ppp")
    assert state(cli, "ppp") == "exited"


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
    cli("run", "-d", "--name", "rrr", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 4")
    wait_until(lambda: state(cli, "rrr") == "exited" and cli("inspect", "-f", "{{.RestartCount}}", "rrr") == "2", 20, "two restarts")
    assert cli("inspect", "-f", "{{.State.ExitCode}}", "rrr") == "4"


def test_restart_always_until_stopped(cli):
    cli("run", "-d", "--name", "rrr", "--restart", "always", "busybox", "sh", "-c", "sleep 0.05")
    wait_until(lambda: int(cli("inspect", "-f", "{{.RestartCount}}", "rrr")) >= 2, 20, "restarts")
    cli("stop", "rrr")
    assert state(cli, "rrr") == "exited"
    count = cli("inspect", "-f", "{{.RestartCount}}", "rrr")
    time.sleep(0.3)  # nothing must happen in this time
    assert (state(cli, "rrr"), cli("inspect", "-f", "{{.RestartCount}}", "rrr")) == ("exited", count)


def test_bad_restart_policies(cli):
    cli.fails("create", "--restart", "sometimes", "busybox", "true")
    cli.fails("create", "--restart", "always:3", "busybox", "true")
    cli.fails("create", "--rm", "--restart", "always", "busybox", "true")


def test_health(cli):
    cli("run", "-d", "--name", "hhh", "--health-cmd", "test -f /ok", "--health-interval", "100ms", "--health-retries", "2",
        "--health-timeout", "5s", "busybox", "sleep", "100")  # fmt: skip
    health = lambda: cli("inspect", "-f", "{{.State.Health.Status}}", "hhh")
    wait_until(lambda: health() == "unhealthy", what="unhealthy")
    assert "(unhealthy)" in cli("ps", "--format", "{{.Status}}")
    cli("exec", "hhh", "touch", "/ok")
    wait_until(lambda: health() == "healthy", what="healthy")
    assert cli("ps", "-q", "--filter", "health=healthy") != ""
    log = json.loads(cli("inspect", "-f", "{{json .State.Health.Log}}", "hhh"))
    assert 1 <= len(log) <= 5 and log[-1]["ExitCode"] == 0


def test_health_timeout(cli):
    cli("run", "-d", "--name", "hhh", "--health-cmd", "sleep 100", "--health-interval", "100ms", "--health-retries", "1",
        "--health-timeout", "200ms", "busybox", "sleep", "100")  # fmt: skip
    wait_until(lambda: cli("inspect", "-f", "{{.State.Health.Status}}", "hhh") == "unhealthy", what="unhealthy")
    log = json.loads(cli("inspect", "-f", "{{json .State.Health.Log}}", "hhh"))
    assert "exceeded timeout" in log[-1]["Output"]
    # The container's own and at most the probe that runs just now: those that were too slow are gone.
    assert cli("exec", "hhh", "ps", "-o", "args").splitlines().count("sleep 100") <= 2


def test_events(daemon, cli):
    begin = time.time()
    cli("run", "--rm", "--name", "ev", "--label", "k=v", "busybox", "sh", "-c", "exit 3", code=3)
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
    cli("run", "-d", "--name", "ttt", "busybox", "sleep", "123")
    lines = cli("top", "ttt").splitlines()
    assert lines[0].split()[:2] == ["UID", "PID"] and lines[1].endswith("sleep 123")
    custom = cli("top", "ttt", "-o", "pid,args").splitlines()
    assert custom[0].split() == ["PID", "COMMAND"] and custom[1].endswith("sleep 123")


def test_container_prune(cli):
    cli("create", "--name", "old", "busybox", "true")
    cli("run", "-d", "--name", "live", "busybox", "sleep", "100")
    out = cli("container", "prune", "-f")
    assert "Total reclaimed space" in out
    assert cli("ps", "-a", "--format", "{{.Names}}") == "live"
