"""A real gRPC server for the tests, in a process of its own: its threads are no company for tests that fork.

Prints its addresses as JSON and serves until its input ends. `python -m tests.unit.probes.grpc_server PATH`
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class _Broken(health_pb2_grpc.HealthServicer):
    def Check(self, request, context):  # noqa: N802  # as the service calls it
        context.abort(grpc.StatusCode.UNAVAILABLE, "the database\nis away")


def _serve(servicer, *addresses: str) -> tuple[grpc.Server, int]:
    server = grpc.server(ThreadPoolExecutor(2))
    if servicer is not None:
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    ports = [server.add_insecure_port(address) for address in addresses]
    server.start()
    return server, ports[0]


def main(path: str) -> None:
    known = health.HealthServicer()
    states = health_pb2.HealthCheckResponse
    known.set("", states.SERVING)
    known.set("model.é", states.SERVING)
    known.set("busy", states.NOT_SERVING)
    known.set("odd", states.UNKNOWN)
    servers = {
        "healthy": _serve(known, "127.0.0.1:0", f"unix:{path}"),
        "bare": _serve(None, "127.0.0.1:0"),
        "broken": _serve(_Broken(), "127.0.0.1:0"),
    }
    print(json.dumps({name: port for name, (_, port) in servers.items()}), flush=True)
    sys.stdin.read()
    for server, _ in servers.values():
        server.stop(0).wait()


if __name__ == "__main__":
    main(sys.argv[1])
