"""Version 1 of the contract: messages in `digits_pb2`, stubs in `digits_pb2_grpc`; generated from digits.proto."""
