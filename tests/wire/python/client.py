"""Calls the server through the gateway at sys.argv[1], and prints `ok` if all is as without it."""
import sys

import grpc

channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/test.Echo/Unary")
for n in range(200):
    text = str(n).encode()
    assert unary(text, timeout=5) == b"echo " + text
assert unary(b"x" * 1_000_000, timeout=10) == b"echo " + b"x" * 1_000_000

both = channel.stream_stream("/test.Echo/Both")
answers = list(both(iter([b"a", b"b", b"c"]), timeout=5))
assert answers == [b"echo a", b"echo b", b"echo c"], answers

try:
    channel.unary_unary("/test.Echo/Fails")(b"", timeout=5)
    raise AssertionError("no error")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert error.details() == "not now", error
    assert ("x-detail", "7") in error.trailing_metadata(), error

try:
    channel.unary_unary("/test.Echo/Slow")(b"", timeout=0.3)
    raise AssertionError("no error")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error

try:
    channel.unary_unary("/test.Echo/Unknown")(b"", timeout=5)
    raise AssertionError("no error")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
print("ok")
