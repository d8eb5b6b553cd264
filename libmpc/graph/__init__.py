"""The model as data: importers, folding into a plan, range analysis, the plaintext reference."""
