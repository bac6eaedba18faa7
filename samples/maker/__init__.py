"""Makes the sample talks: script in, MP4 with true sentence times out (see samples/README.md)."""
