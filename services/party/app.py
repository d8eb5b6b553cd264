"""The party's HTTP/2 application: one route that carries every link, and a self-description."""

from __future__ import annotations

from fastapi import FastAPI

from libmpc._version import __version__
from libmpc.party.messages import PartyReport
from libmpc.party.node import PartyNode
from services.common.http2 import mount
from services.common.tracing import NO_TELEMETRY


def make_app(node: PartyNode) -> FastAPI:
    """Control routes and the link route. Reachable with a certificate of the deployment only."""
    app = FastAPI(
        title="libmpc party",
        version=__version__,
        description="Peers and gateways do everything over sealed links (POST /link/v1).",
        telemetry=NO_TELEMETRY,
        docs_url=None,
        redoc_url=None,
    )

    @app.get("/v1/status", summary="Readiness, epoch, pools and clock")
    async def status() -> PartyReport:
        return node.answers.report()

    mount(app)
    return app
