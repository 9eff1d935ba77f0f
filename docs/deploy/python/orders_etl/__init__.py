"""`etl` for schedulers in Python: where its binary is, how to run it (`orders_etl.process`), and operators (`orders_etl.airflow`)."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator

__all__ = ["BinaryNotFound", "find_binary"]


class BinaryNotFound(FileNotFoundError):
    """No `etl` where this package installs it, and none on the PATH."""


def find_binary() -> str:
    """The path of `etl`: the one that this package has installed, else the one on the PATH."""
    for folder in _script_folders():
        path = os.path.join(folder, "etl")
        if os.access(path, os.X_OK):
            return path
    on_path = shutil.which("etl")
    if on_path is None:
        raise BinaryNotFound("etl is not installed: `pip install orders-etl`, or put the binary on the PATH")
    return on_path


def _script_folders() -> Iterator[str]:
    """Where pip puts programs: of this environment, of the user, and beside a `pip install --target`."""
    yield sysconfig.get_path("scripts")
    # Before Python 3.10, sysconfig can't say which scheme is that of the user.
    yield sysconfig.get_path("scripts", "osx_framework_user" if _is_framework_build() else "posix_user")
    yield os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin")


def _is_framework_build() -> bool:
    return sys.platform == "darwin" and bool(sysconfig.get_config_var("PYTHONFRAMEWORK"))
