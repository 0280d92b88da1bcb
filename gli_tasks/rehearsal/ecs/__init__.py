"""The twin's ECS: clusters, task definitions, services that roll, tasks that run."""
