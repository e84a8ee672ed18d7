"""Folders, archives and tables on many machines, by shards; only `ray_engine` knows Ray."""
