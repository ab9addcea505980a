"""`vajra simulate`: its options read, its results printed."""
