"""The twin's load balancer: an HTTP and WebSocket reverse proxy with the semantics of an Application Load Balancer."""
