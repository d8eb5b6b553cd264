"""Sealed envelopes: HPKE (RFC 9180) in base mode, with the context in ``info``.

``seal`` is the closing half and ``open`` the opening half, apart so that import rules can say who
has which: a gateway has neither a use nor an import for the opening half.
"""
