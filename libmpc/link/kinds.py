"""Kinds of messages on a link: its users' from 0 on, and at the end its own."""

MAX_KIND = 253  # of users
HEARTBEAT = 254
END = 255
