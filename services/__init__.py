"""The services around the library: parties, gateways, and what they have in common."""
