"""Training with Lightning: data, one thin module, losses, checkpoints, and `fit`."""
