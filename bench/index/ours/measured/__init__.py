"""One measurement each: `measure` gives its numbers by name."""
