"""Memory that is kept for the next array, and returned."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

KEPT = """
import numpy as np
from nasgen.pipeline.environment import keep_memory, release_memory

def resident():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) // 1024

keep_memory()
arrays = [np.ones(2**17) for _ in range(300)]  # a MiB each
used, last = resident(), arrays[-1]
del arrays
kept = resident()
release_memory()
print(used, kept, resident(), last.sum())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep nothing")
def test_freed_memory_is_kept_until_it_is_released():
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run([sys.executable, "-c", KEPT], cwd=root, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    used, kept, released, _ = map(float, ran.stdout.split())
    assert used - kept < 10 and 290 < kept - released < 310
