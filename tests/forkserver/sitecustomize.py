"""Lets `python -P -m engine` under test be forked from a process that has imported torch already.

Python imports this by its name wherever this folder is on PYTHONPATH.
"""

import os
import sys

if sys.orig_argv[1:4] == ["-P", "-m", "engine"] and "GEMMA_BENCH_FORKSERVER" in os.environ:
    import forked_engine

    forked_engine.fork_in_place_of_this(os.environ["GEMMA_BENCH_FORKSERVER"])
