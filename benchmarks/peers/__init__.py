"""The other servers: one file each, and beside it the exact versions of what it is installed with.

Each runs in a Python environment of its own as `python -m benchmarks.peers.NAME --port PORT --model FILE`, at what its
documentation says is best for this job on 2 cores; its docstring says what was tried.
"""
