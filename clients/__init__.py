"""Asks a served LeNet5: needs gRPC, the contract and numpy, nothing of the server."""
