"""What is told, written for people."""
