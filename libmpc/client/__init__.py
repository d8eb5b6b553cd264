"""Clients: check, share, seal, ask, verify, open and reconstruct, all on the client's own machine.

``session`` has all of the logic and neither sockets nor sleeps: its operations are generators that
yield requests and pauses. ``sync`` and ``aio`` carry them out.
"""

from libmpc.client.aio import AsyncClient
from libmpc.client.card import ModelSummary
from libmpc.client.connection import Connection
from libmpc.client.retry import RetryPolicy
from libmpc.client.sync import Client

__all__ = ["AsyncClient", "Client", "Connection", "ModelSummary", "RetryPolicy"]
