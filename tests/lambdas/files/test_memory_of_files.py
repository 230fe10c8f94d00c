"""Where the memory of files comes from: one heap for all threads, and Arrow's pool that gives back."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

HEAPS = """
import ctypes, threading
if {shared}:
    import weir_lambdas.file_processor.reading
malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
places = [malloc(1000)]
thread = threading.Thread(target=lambda: places.append(malloc(1000)))
thread.start()
thread.join()
heap = next(line for line in open("/proc/self/maps") if line.endswith("[heap]\\n"))
start, end = (int(one, 16) for one in heap.split()[0].split("-"))
print([start <= place < end for place in places])
"""


@pytest.mark.parametrize("shared", [True, False])
def test_the_threads_that_read_a_file_share_the_process_heap(shared: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAPS.format(shared=shared)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str([True, shared])


def test_arrow_reads_with_the_pool_that_gives_back() -> None:
    from weir_lambdas.file_processor.memory import share_arrow_pool

    theirs = "jemalloc" in pa.supported_memory_backends()
    assert share_arrow_pool() is theirs
    assert (pa.default_memory_pool().backend_name == "jemalloc") is theirs
