"""What is made from the tables of metrics: a page of documentation and a Grafana dashboard."""
