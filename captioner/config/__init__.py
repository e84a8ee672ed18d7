"""Options, typed and checked; the only home of defaults."""
