"""What an operator sees of the mesh at a glance."""
