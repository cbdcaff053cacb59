"""Dockerfiles as people write them: servers from the distribution's packages, programs that are compiled, one from scratch.

They need the Debian mirror, in the containers as well. Package lists and archives are kept by cache mounts from one to the next.
"""

import http.client
import re
import subprocess

import pytest
from build_harness import Saved
from conftest import ROOT, wait_until

FIXTURES = ROOT / "tests" / "fixtures" / "build"


def mirror():
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"], capture_output=True, text=True)
    return next((site for site in listed.stdout.split() if site.rstrip("/").endswith("/debian")), None)


def suite():
    return re.search(r"^VERSION_CODENAME=(\w+)", open("/etc/os-release").read(), re.MULTILINE)[1]


@pytest.fixture(scope="module")
def debian_tar():
    """Where tools/first-run keeps it, too."""
    file = ROOT / "build" / "run" / "base.tar"
    site = mirror()
    if site is None or subprocess.run(["curl", "-fsS", "--max-time", "15", "-o", "/dev/null", f"{site}/dists/{suite()}/InRelease"]).returncode:
        pytest.skip("needs a Debian mirror")
    if not file.exists() or file.stat().st_size == 0:
        file.parent.mkdir(exist_ok=True)
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", suite(), file, site], check=True, timeout=300)
    return file


@pytest.fixture(scope="module")
def debian(shared, debian_tar):
    """The shared daemon's client, with an image of Debian."""
    shared.corten("import", debian_tar, "debian:latest", timeout=120)
    yield shared.corten
    containers = shared.corten("ps", "-aq").split()
    assert not containers
    for name in ("nginx", "python", "nodejs", "static", "cpp"):
        shared.corten.run("rmi", "-f", f"real/{name}")
    shared.corten("rmi", "-f", "debian:latest")
    shared.corten("builder", "prune", "-a", "-f")


def build(cli, name, *flags):
    return cli("build", "-t", f"real/{name}", *flags, FIXTURES / name, timeout=300)


def serve(cli, name, port, path, *flags):
    """What the image's server answers."""
    container = cli("run", "-d", "-p", f"127.0.0.1::{port}", *flags, f"real/{name}")
    try:
        address = cli("port", container, f"{port}/tcp").splitlines()[0]

        def fetch():
            connection = http.client.HTTPConnection(address, timeout=5)
            try:
                connection.request("GET", path)
                return connection.getresponse().read().decode()
            except OSError:
                return None
            finally:
                connection.close()

        said = wait_until(fetch, 20, f"an answer: {cli.run('logs', container)}")
        cli("stop", "-t", "10", container, timeout=30)
        assert cli("inspect", "-f", "{{.State.ExitCode}}", container) in ("0", "143")
        return said
    finally:
        cli.run("rm", "-f", container)


def test_nginx(debian):
    build(debian, "nginx")
    assert serve(debian, "nginx", 80, "/") == "<h1>nginx, from a Dockerfile</h1>\n"
    saved = Saved(debian, "real/nginx")
    assert saved.config()["StopSignal"] == "SIGQUIT"
    # What cache mounts hold is not in the image.
    assert not [path for path in saved.files if path.startswith(("var/cache/apt/archives/nginx", "var/lib/apt/lists/deb"))]


def test_python(debian):
    build(debian, "python")
    assert serve(debian, "python", 8000, "/sdrawkcab") == "python says backwards\n"
    assert Saved(debian, "real/python").files["usr/local/bin/app"].split()[1:3] == ["0755", "1234:1234"]


def test_nodejs(debian):
    build(debian, "nodejs", "--build-arg", "GREETING=everybody")
    assert serve(debian, "nodejs", 3000, "/") == "node greets everybody: greeter 1.2.3\n"


def test_a_static_program_from_scratch(debian):
    build(debian, "static", "--build-arg", "VERSION=1.0")
    assert debian("run", "--rm", "--network=none", "real/static", "hello") == "static 1.0, user 65534, hello"
    assert list(Saved(debian, "real/static").files) == ["server"]


def test_cpp_in_stages(debian):
    build(debian, "cpp")
    assert debian("run", "--rm", "--network=none", "real/cpp") == "given nothing"
    assert debian("run", "--rm", "--network=none", "real/cpp", "z", "b", "a") == "a b z"
    assert not [path for path in Saved(debian, "real/cpp").files if path.endswith("/g++")]
