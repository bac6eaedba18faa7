"""Video documents: their shape, their states and their store."""
