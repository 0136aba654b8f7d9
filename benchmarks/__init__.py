"""Side-by-side measurements: `make bench` starts each server in turn, loads it, checks its answers, writes a table.

side_by_side.py    the command: measures, and writes tables, samples and plots
servers.py         the list: what runs, where, in which dialect it is asked, and by which clients
dialects.py        how a request of n images is written, and its reply read
open_inference.py  the messages of one of these dialects
digits.py          the images, and the answers that are right
environments.py    a Python environment for each peer
processes.py       a server's processes: started, measured, stopped
load.py            the load of h2load, and what it counted
witness.py         a second client, which compares answers while the load is on
measuring.py       one measurement with h2load
asking.py          one measurement with a Python program
turns.py           rounds: each server's turn in each of them
growth.py          our server alone, from 1 caller to far too many
results.py         what was found, or why nothing was
table.py           the same in words and numbers
plots.py           the same in pictures
peers/             the other servers, and the versions that they are installed with
callers/           Python programs that ask, each with a usual client
"""
