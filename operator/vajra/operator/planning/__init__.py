"""The pure half: from what is observed to what must be done. Nothing here talks to anyone."""
