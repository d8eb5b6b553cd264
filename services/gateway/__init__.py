"""The public REST service between clients and the three parties. It reads nothing it relays."""
