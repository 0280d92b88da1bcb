"""Release tasks for the GLI and GreenFlow stacks."""
