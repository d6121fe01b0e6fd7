"""What an edit or a move would do: figures before the act."""
