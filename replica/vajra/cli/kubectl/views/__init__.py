"""What is told, made from objects of the cluster: no input, no output, no clock."""
