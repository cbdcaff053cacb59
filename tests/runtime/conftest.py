"""Runs every test with corten-runtime, and with runc and crun where they are installed, which proves the tests.

CORTEN_RUNTIME_BIN names another program; CORTEN_RUNTIMES=corten-runtime,runc picks some.
"""

import os
import shutil

import pytest

from harness import REPOSITORY, Bundle, Runtime, make_rootfs


# Where an installed runc 1.1 or crun 1.8 does otherwise; everything else must hold for them as well.
KNOWN_DIFFERENCES = {
    ("crun", "test_stats"): "has no events command",
    ("crun", "test_bad_ids_are_refused"): "takes a blank in an id",
    ("crun", "test_takes_flags"): "-e replaces the whole environment",
    ("crun", "test_hooks_see_the_right_namespace"): "runs in a mount namespace of its own here",
    ("crun", "test_keeps_the_containers_restrictions"): "exec does not take no_new_privs over",
}


def own_program():
    built = os.environ.get("CORTEN_BIN")
    candidates = [os.environ.get("CORTEN_RUNTIME_BIN"), built and f"{built}/corten-runtime", REPOSITORY / "build/bin/corten-runtime",
                  REPOSITORY / "build/debug/bin/corten-runtime"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    return None


def runtimes():
    found = {"corten-runtime": own_program(), "runc": shutil.which("runc"), "crun": shutil.which("crun")}
    chosen = os.environ.get("CORTEN_RUNTIMES")
    names = chosen.split(",") if chosen else [name for name in found if found[name]]
    return {name: found[name] for name in names}


def pytest_generate_tests(metafunc):
    if "runtime" in metafunc.fixturenames:
        metafunc.parametrize("runtime", list(runtimes()), indirect=True)


def crun_command():
    """crun refuses a hybrid host whose v2 tree has controllers, so it gets a mount namespace without that tree."""
    controllers = "/sys/fs/cgroup/unified/cgroup.controllers"
    if not os.path.exists(controllers):
        return ["crun"]
    return ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified && exec crun "$@"', "crun"]


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shared") / "rootfs"
    make_rootfs(directory)
    return directory


@pytest.fixture
def runtime(request, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    known = KNOWN_DIFFERENCES.get((request.param, request.node.originalname))
    if known:
        pytest.skip(f"{request.param} {known}")
    one = Runtime(request.param, crun_command() if request.param == "crun" else [runtimes()[request.param]], tmp_path)
    yield one
    one.clean()
    assert one.leftovers() == []


@pytest.fixture
def bundle(tmp_path, rootfs):
    return Bundle(tmp_path / "bundle", rootfs)


@pytest.fixture
def only_corten(runtime):
    if runtime.name != "corten-runtime":
        pytest.skip("about our own behaviour")
