"""Inference with a finished bundle: numpy, Pillow and ONNX Runtime, never torch."""
