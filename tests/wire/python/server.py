"""A gRPC server without generated code. Prints its port."""
import sys
import time
from concurrent import futures

import grpc


def unary(request, context):
    return b"echo " + request


def both(requests, context):
    for request in requests:
        yield b"echo " + request


def fails(request, context):
    context.set_trailing_metadata((("x-detail", "7"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")


def slow(request, context):
    time.sleep(5)
    return b""


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Both": grpc.stream_stream_rpc_method_handler(both),
    "Fails": grpc.unary_unary_rpc_method_handler(fails),
    "Slow": grpc.unary_unary_rpc_method_handler(slow),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
