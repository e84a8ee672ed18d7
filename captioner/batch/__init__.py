"""Whole folders of pictures: source → captioner → sink, as a job that can be stopped at any time and goes on."""
