"""Where pictures and captions come from: one format a file, one registry."""
