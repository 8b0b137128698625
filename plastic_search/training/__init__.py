"""What happens around the update of a network: structures that adapt, long sequences, evaluation."""
