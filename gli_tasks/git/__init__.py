"""Git: what a commit must be before it is released, and the tag it gets after."""
