"""Start a Python process, wait for its end, print wall seconds, CPU seconds, peak memory (ru_maxrss), status.

    python -I -S benchmarks/launch.py ARGUMENTS-OF-THE-INTERPRETER …

Imports next to nothing: on Linux the peak of a process counts from that of the one that started it, so this one must be
smaller than any that is measured. The stdout of the process is thrown away.
"""

import os
import sys
import time

if __name__ == "__main__":
    silence = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    process = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=silence)
    _, status, usage = os.wait4(process, 0)
    wall = time.perf_counter() - started
    print(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
