"""A party with nothing but a link route, as a process of its own, for tests that kill it.

Usage: python -m tests.services.link_server PORT CERTIFICATE KEY CA
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from fastapi import FastAPI

from libmpc.link import ByteStream, Link, LinkSettings, Message, accept
from services.common.http2 import Http2Server, LinkEndpoint, mount
from services.common.tls import TlsFiles
from tests.link.support import identity, known

SETTINGS = LinkSettings(heartbeat=0.2, timeout=1.0)
ECHO, SINK, TOTAL = 1, 2, 3


def echo(link: Link) -> None:
    """Send back what comes as ``ECHO``; count what comes as ``SINK`` and tell at ``TOTAL``."""
    total = 0

    def handler(message: Message) -> None:
        nonlocal total
        if message.kind == ECHO:
            link.post(ECHO, message.bundle, message.step, message.payload)
        elif message.kind == SINK:
            total += len(message.payload)
        else:
            link.post(TOTAL, total, 0)

    link.start(handler)


async def on_stream(stream: ByteStream) -> None:
    link = await accept(stream, identity(1), known, settings=SETTINGS)
    echo(link)
    try:
        await link.wait_closed()
    finally:
        await link.close()


async def main(port: int, tls: TlsFiles) -> None:
    app = FastAPI()
    endpoint = LinkEndpoint(on_stream)
    mount(app)
    server = Http2Server(app, "127.0.0.1", port, tls, endpoint=endpoint)
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), TlsFiles(*(Path(path) for path in sys.argv[2:5]))))
