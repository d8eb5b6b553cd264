"""HTTP/2 for services: full-duplex streams for links, and ordinary requests beside them.

server → server_connection → endpoint (links), requests → asgi (the rest); client. Both ends are a
``connection``: h2 keeps its state, ``splitter``, ``windows`` and ``link_stream`` carry a link.
"""

from services.common.http2.client import connect_stream
from services.common.http2.endpoint import LINK_PATH, LinkEndpoint, mount
from services.common.http2.server import Http2Server

__all__ = ["LINK_PATH", "Http2Server", "LinkEndpoint", "connect_stream", "mount"]
