"""Encoders: pixels in, features out. One network a file; `registry.py` builds the one that was asked for."""
