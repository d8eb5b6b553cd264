"""Keras models, read without Keras: HDF5 and JSON only, and nothing in them is executed."""

from libmpc.graph.keras.importer import read_keras

__all__ = ["read_keras"]
