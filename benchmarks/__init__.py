"""Side-by-side measurements: `make bench` starts each server in turn, loads it, checks its answers, writes a table.

servers.py       the list: what runs, where, and in which dialect it is asked
dialects.py      how a request of n images is written, and its reply read
environments.py  a Python environment for each peer
processes.py     a server's processes: started, measured, stopped
digits.py        the images, and the answers that are right
load.py          the load of h2load, and what it counted
witness.py       a second client, which compares answers while the load is on
measuring.py     one measurement
turns.py         rounds: each server's turn in each of them
growth.py        our server alone, from 1 caller to far too many
table.py         the results in words and numbers
plots.py         the results in pictures
peers/           the other servers
callers/         Python programs that ask
"""
