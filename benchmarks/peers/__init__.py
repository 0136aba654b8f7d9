"""The other servers: one file each, and beside it the exact versions of what it is installed with.

Each runs as `python -m benchmarks.peers.NAME --port PORT --model FILE`, at what its documentation says is best for this
job on 2 cores; its docstring says what was tried. `aio`, `echo` and `in_process` need no more than our own environment.
"""
