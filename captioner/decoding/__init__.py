"""Decoding: token ids and log-probabilities only; knows neither words nor networks."""
