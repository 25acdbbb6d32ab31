"""What the tests ask of the machine they run on; imported before anything else, and by every test process.

Where an environment forbids bytecode (PYTHONDONTWRITEBYTECODE), every broker and every command that a test starts would
compile the whole program again: bytecode goes to a folder beside the other temporary files. And temporary files, the
stores among them, lie in memory where there is room for them: the tests kill processes, not machines, so no test can
see whether a disk was waited for. That stores do wait for it is what `store/test_engine.py` reads from their settings.
A TMPDIR that is set stays.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 4 << 30


def _memory_takes_files():
    """Whether there is a folder in memory with room, and programs in it may be run (containers often forbid it)."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK | os.X_OK):
        return False
    return not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC and shutil.disk_usage(MEMORY).free >= ROOM


def _keep_temporary_files_in_memory():
    if "TMPDIR" not in os.environ and _memory_takes_files():
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def _keep_bytecode():
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        return
    folder = Path(tempfile.gettempdir()) / f"sluss-test-bytecode-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(folder)
    sys.dont_write_bytecode = False


_keep_temporary_files_in_memory()
_keep_bytecode()
