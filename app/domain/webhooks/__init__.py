"""What other systems are told of, as signed webhooks."""
