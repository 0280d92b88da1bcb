"""The twin's load generator: constant traffic through the balancer, every failure counted."""
