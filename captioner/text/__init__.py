"""Text: how captions become words, and words ids."""
