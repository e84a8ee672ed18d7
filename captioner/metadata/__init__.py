"""Captions in the metadata of picture files: pixels and all other metadata stay, and every change can be undone."""
