"""Measures libmpc as its users see it: from the client, through the gateway and three parties.

``make bench``, or ``python -m benchmarks --help``; docs/benchmarks.md says how to read the results.
"""
