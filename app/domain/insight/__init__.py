"""What the numbers say: reads, never writes."""
