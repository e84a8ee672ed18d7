"""Caption metrics after the coco-caption protocol: strings in, scores out, without Java."""
