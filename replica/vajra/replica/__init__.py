"""One replica: its controller, its worker processes, its gRPC face. Token ids in, token ids out."""
