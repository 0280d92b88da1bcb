"""What runs a task's containers: a Docker engine, or processes of this machine where there is none.

``contract`` is what the twin's ECS asks of either. ``container`` runs on an engine, ``base_image`` gives that engine an
image to build upon. ``process`` runs an image's files as processes: ``images`` and ``unpack`` fetch them, ``children``
starts processes that end with their parent (``launcher``, ``warden``), ``health_checks`` watches them.
"""
