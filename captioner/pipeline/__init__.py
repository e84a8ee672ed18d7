"""From pictures and captions to a bundle, one stage a file; `build.py` names them in order."""
