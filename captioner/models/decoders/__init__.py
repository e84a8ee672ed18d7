"""Decoders: features in, words out, one family a file."""
