"""What the gateway takes from Kubernetes: where its peers are, and which gateway leads."""
