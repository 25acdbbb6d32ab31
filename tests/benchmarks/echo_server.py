"""The baseline of the unary benchmark: gRPC and nothing else, in a process like the broker's.

The same event loop, credentials and options as `sluss serve`; the handler gets the request's bytes and gives a
reply that the broker once gave. python -m tests.benchmarks.echo_server HOME REPLY_FILE, prints its port.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import grpc

from broker import server, workers
from broker.certificates import Certificates
from broker.settings import load

METHOD = "/bench.Echo/Echo"


async def _serve(home, reply):
    settings = load(home)

    async def echo(_request, _context):
        return reply

    served = grpc.aio.server(
        options=server._options(settings, shared=False), maximum_concurrent_rpcs=2 * settings.max_calls
    )
    _, service, method = METHOD.split("/")
    handler = grpc.unary_unary_rpc_method_handler(echo)
    served.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = served.add_secure_port("127.0.0.1:0", Certificates(settings.folder).credentials())
    await served.start()
    print(port, flush=True)  # noqa: T201 - whoever started it waits for this line
    await asyncio.Event().wait()
    return 0


if __name__ == "__main__":
    workers.keep_to_one_core(os.getpid())
    workers.run(_serve(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
