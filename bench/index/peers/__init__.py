"""One small adapter for each peer, each as its own documentation advises, in the quickest way that it offers."""
