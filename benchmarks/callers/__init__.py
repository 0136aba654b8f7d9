"""Python programs that ask, each with the client that users of a server usually have.

Each is one process with one event loop, in which many callers ask for one image each. They run in the environment of
the server that they ask, as far as their client comes with it.
"""
