"""The party service: HTTP/2, health and metrics around ``libmpc.party``."""
