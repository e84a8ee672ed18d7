"""Captions in the metadata of picture files, the pixels as they were."""
