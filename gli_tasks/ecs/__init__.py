"""ECS: task definitions, services, rollouts."""
