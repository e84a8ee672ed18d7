"""Where captions go: one kind of output a file, behind one protocol."""
