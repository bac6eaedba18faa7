"""What searches need not do twice: query vectors, and answers that still hold."""
