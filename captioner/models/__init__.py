"""The networks: encoders that look at pictures, and decoders that write words. Needs torch."""
