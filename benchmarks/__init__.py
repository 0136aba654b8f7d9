"""Side-by-side measurements; each prints a table and writes it to a file beside itself."""
