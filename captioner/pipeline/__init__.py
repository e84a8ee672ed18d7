"""From pictures and captions to a bundle, one stage a file: prepare, features, train, export, evaluate, bundle, report."""
