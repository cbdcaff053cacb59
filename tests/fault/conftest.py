"""The system tests' daemon and fixtures, for tests that kill it."""

import importlib.util
import pathlib

_path = pathlib.Path(__file__).resolve().parent.parent / "e2e" / "conftest.py"
_spec = importlib.util.spec_from_file_location("e2e_conftest", _path)
e2e = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(e2e)

busybox_tar = e2e.busybox_tar
make_daemon = e2e.make_daemon
