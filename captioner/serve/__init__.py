"""The captioner as a service: REST and a page, over worker processes that hold the networks."""
