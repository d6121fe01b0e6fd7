"""What is kept about people, and for how long."""
