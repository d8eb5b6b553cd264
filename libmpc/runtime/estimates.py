"""How long work takes, roughly: enough to decide what must not run in an event loop."""

SECONDS_PER_MAC = 0.15e-9
SECONDS_PER_VALUE = 3e-9
"""Of one pass over an array of words."""
SECONDS_PER_PREPARED_BYTE = 0.3e-9
SECONDS_PER_DEALT_BYTE = 0.5e-9
