"""The embedded mesh: every part of Earmark as child processes on loopback, its data in one folder."""
