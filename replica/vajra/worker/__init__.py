"""One rank: loads the model, runs the engine, answers its controller. Knows no policy."""
