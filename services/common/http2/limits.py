"""What a peer, which has a certificate and may be hostile, can make a service hold or do."""

from __future__ import annotations

#: flow-control window of a link, and of its connection, in bytes
LINK_WINDOW = 16 << 20
#: longest DATA frame that is accepted, and that is sent
MAX_FRAME_BYTES = 1 << 20
#: any other frame, and DATA of an ordinary request, which is bounded by the window of 64 KiB
MAX_HELD_FRAME_BYTES = (64 << 10) + 256
#: names, values and 32 bytes each of one request's headers
MAX_HEADER_LIST_BYTES = 16 << 10
#: encoded headers of one request, in all its frames
MAX_HEADER_BLOCK_BYTES = 32 << 10
#: body of an ordinary request
MAX_BODY_BYTES = 64 << 10
#: ordinary requests of one connection at the same time
MAX_STREAMS = 32
MAX_CONNECTIONS = 1024
#: answers to its own frames that a peer does not read, with what else is on its way over a link
MAX_UNTAKEN_BYTES = 64 << 20
#: the same of a connection without a link, which has only what the client's windows allow
MAX_UNTAKEN_ANSWER_BYTES = 1 << 20

#: frames other than a link's that may come at once, and per second in the long run
FRAME_BURST = 1000
FRAMES_PER_SECOND = 200.0

#: seconds for the TLS handshake, and again until the first request
OPENING_SECONDS = 5.0
#: seconds without a request under way, after which an ordinary connection ends
IDLE_SECONDS = 60.0
#: seconds for what was sent to leave, and for the peer to end its side
CLOSING_SECONDS = 0.3
