"""Command lines about registries, typed at both clients against one daemon: what they print, how they end, what is in config.json."""

import difflib
import json
import re
import shutil
import subprocess

import pytest
from registries import free_port


@pytest.fixture
def both(daemon, tmp_path):
    """Runs a shell line with each client in place of `@`, each with a configuration of its own, and tells how they differ."""
    if daemon.docker is None:
        pytest.skip("no docker CLI on the PATH")

    def plain(text, client, config):
        text = text.replace(str(client.program), "@").replace(str(config), "<config>")
        text = re.sub(r"^time=.*\n", "", text, flags=re.MULTILINE)
        return re.sub(r"(?<!require ')\b[Dd]ocker\b(?!\.io|\.com|-|/| Hub| ID)", "corten", text).replace("Corten", "corten")

    def run(client, line, config, text):
        if config.exists():
            shutil.rmtree(config)
        if text is not None:
            config.mkdir()
            (config / "config.json").write_text(text)
        line = line if "@" in line else "@ " + line
        shell = re.sub(r"@(?!sha256)", f"{client.program} -H {client.host}", line)
        process = subprocess.run(
            ["bash", "-c", shell], cwd=tmp_path, env={**client.environment, "DOCKER_CONFIG": str(config)},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        left = config / "config.json"
        kept = json.dumps(json.loads(left.read_text()), indent=1, sort_keys=True) if left.exists() and text != "" else "none"
        return (
            f"exit {process.returncode}\n--- out\n{plain(process.stdout, client, config)}"
            f"--- err\n{plain(process.stderr, client, config)}--- config\n{kept}\n"
        )

    def differences(lines, config=None):
        found = []
        for line in lines:
            ours = run(daemon.corten, line, tmp_path / "ours", config)
            theirs = run(daemon.docker, line, tmp_path / "theirs", config)
            if ours != theirs:
                diff = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "docker", "corten", lineterm="", n=0)
                found.append("\n".join([f"$ {line}", *diff]))
        return found

    return differences


def test_login(both, guarded):
    at = guarded.address
    nobody = f"127.0.0.1:{free_port()}"
    lines = f"""login -u me -p secret {at}
login -u me -p secret https://{at}
login -u me -p secret https://{at}/v2/
login -u me -p secret http://{at}/
login -u me -p wrong {at}
login -u you -p secret {at}
login -u me {at}
login -p secret {at}
login {at}
login
login docker.io
login -u me
login -u '' {at}
login -u me -p '' {at}
login -u me --password-stdin -p x {at}
login --password-stdin {at}
echo secret | @ login -u me --password-stdin {at}
echo -n secret | @ login -u me --password-stdin {at}
printf 'secret\\r\\n' | @ login -u me --password-stdin {at}
echo | @ login -u me --password-stdin {at}
echo wrong | @ login -u me --password-stdin {at}
login -u me -p secret {nobody}
login --bogus
login -u me -p secret -u you -p x {at}
@ login -u me -p secret {at} && @ login {at}
@ login -u me -p secret {at} && @ login -u me {at}
@ login -u me -p secret {at} && @ login -u me -p wrong {at}
@ login -u me -p secret {at} && @ login -u me -p secret {at}
@ login -u me -p secret {at} && @ logout {at}
@ login -u me -p secret {at} && @ logout https://{at}
@ login -u me -p secret {at} && @ logout http://{at}/v2/
@ login -u me -p secret https://{at} && @ logout {at}
@ login -u me -p secret {at} && @ logout
logout
logout {at}
logout https://index.docker.io/v1/
logout docker.io
logout --bogus""".splitlines()
    found = both(lines)
    assert not found, "\n".join(found)


def test_login_with_a_configuration(both, guarded):
    at = guarded.address
    lines = f"""login -u me -p secret {at}
login {at}
logout {at}
logout
pull -q {at}/no:such
search {at}/x""".splitlines()
    known = "bWU6c2VjcmV0"  # me:secret
    found = []
    for config in (
        {"auths": {at: {"auth": known}}, "psFormat": "x", "HttpHeaders": {"A": "b"}},
        {"auths": {f"https://{at}": {"auth": known}}},
        {"auths": {f"https://{at}/v1/": {"auth": known}}},
        {"auths": {at: {"auth": "bWU6d3Jvbmc="}}},
        {"auths": {at: {"username": "me", "password": "secret"}}},
        {"auths": {at: {}}},
        {"auths": {at: {"identitytoken": "x"}, "other.example": {"auth": known}}},
        {"auths": {}, "credHelpers": {"other.example": "nope"}},
    ):
        found += [f"{config}: {line}" for line in both(lines, json.dumps(config, indent="\t"))]
    assert not found, "\n".join(found)


HELPER = """#!/bin/sh
read line
echo "$1 $line" >>{folder}/asked
case $1:$line in
get:*broken*) echo '{{"Username": "me", "Secret"' ;;
get:*failing*) echo 'the vault is shut'; exit 1 ;;
get:*) [ -e {folder}/kept ] && cat {folder}/kept || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;
store:*) echo "$line" >{folder}/kept ;;
erase:*) rm {folder}/kept ;;
list:*) echo '{{}}' ;;
esac
"""


def test_helpers_keep_what_either_client_gives_them(both, guarded, daemon, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    helper = folder / "docker-credential-test"
    helper.write_text(HELPER.format(folder=folder))
    helper.chmod(0o755)
    at = guarded.address
    begin = f"rm -f {folder}/kept; export PATH={folder}:$PATH;"
    # What the helper was asked, behind what the clients print. Docker's asks some things twice.
    end = f"; sort -u {folder}/asked; rm -f {folder}/asked"
    lines = [f"{begin} {line}{end}" for line in f"""@ login -u me -p secret {at}
@ login -u me -p wrong {at}
@ login {at}
@ login -u me -p secret {at}; @ login {at}
@ login -u me -p secret {at}; @ logout {at}; @ login {at}
@ login -u me -p secret {at}; @ pull -q {at}/no:such; @ logout {at}""".splitlines()]  # fmt: skip
    found = []
    for config in (
        {"credsStore": "test"},
        {"credHelpers": {at: "test"}},
        {"credHelpers": {"other.example": "test"}, "credsStore": "test", "auths": {at: {}}},
        {"auths": {at: {"auth": "bWU6c2VjcmV0"}}, "credsStore": "test"},
    ):
        found += [f"{config}: {line}" for line in both(lines, json.dumps(config))]
    assert not found, "\n".join(found)
    # Docker says nothing of a helper that fails.
    (tmp_path / "config.json").write_text('{"credsStore": "test"}')
    env = {"PATH": f"{folder}:/usr/bin:/bin", "DOCKER_CONFIG": str(tmp_path)}
    for name, why in (("failing", "out: `the vault is shut`"), ("broken", "did not answer with JSON")):
        warning = daemon.corten.run("pull", "-q", f"{name}.localhost/x", env=env).err.splitlines()[0]
        assert warning.startswith(f"WARNING: going on without credentials for {name}.localhost: ") and warning.endswith(why)


def test_pull_and_push(both, registry, guarded, pushed, daemon):
    name, at = f"{registry.address}/{pushed}", guarded.address
    nobody = f"127.0.0.1:{free_port()}"
    digest = registry.manifest(pushed, "1")[0]
    daemon.corten("pull", "-q", f"{name}:1")
    daemon.corten("tag", f"{name}:1", f"{name}/up:1")
    daemon.corten("tag", f"{name}:1", f"{name}/up:2")
    daemon.corten("tag", f"{name}:1", f"{at}/closed:1")
    daemon.corten("push", "-q", "-a", f"{name}/up")
    lines = f"""pull {name}:1
pull -q {name}:1
pull {name}@{digest}
pull -q {name}@{digest}
pull {name}:1@{digest}
pull {name}
pull {name}:no
pull -q {name}:no
pull {name}@sha256:{'0' * 64}
pull {name}@sha256:12
pull {registry.address}/no/such
pull {at}/closed:1
pull {nobody}/x
pull -a {name}:1
pull -a {name}@{digest}
pull -q -a {name}
pull -a {registry.address}/no/such
pull A
pull ''
pull --platform linux/riscv64 {name}:1
pull --platform a/b/c/d {name}:1
pull --platform nonsense {name}:1
pull --platform LINUX/AMD64 -q {name}:1
image pull {name}:no
@ push {name}/up:1 | sort
push -q {name}/up:1
push {name}/up
@ push -a {name}/up | sort
push -q -a {name}/up
push -a {name}/up:1
push {name}/none:1
push -a {name}/none
push {name}@{digest}
push A
push {at}/closed:1
push -q {at}/closed:1
push {nobody}/x:1
push --platform linux/riscv64 {name}/up:1
push --platform linux/amd64 -q {name}/up:1
image push {name}/none:1
run --rm {registry.address}/no/such
run --rm --pull never {registry.address}/no/such
run --rm --pull bogus x
create {name}:no
create -q {name}:no
images --digests {name}
image inspect -f '{{{{json .RepoDigests}}}}{{{{json .RepoTags}}}}' {name}:1
inspect -f '{{{{.RepoDigests}}}}' {name}@{digest}
rmi {name}@{digest}x
history -q {name}@{digest}""".splitlines()
    found = both(lines)
    assert not found, "\n".join(found)
