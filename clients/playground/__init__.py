"""The playground: a page on which a person draws a digit and watches the network think.

A small web app between the page and the gRPC server, and a plain client of the latter: it holds no model and no state,
and the page shows the very floats that the server returned.
"""
