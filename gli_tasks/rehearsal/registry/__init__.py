"""The twin's image registry: the OCI distribution API over a store on disk, its client, and ECR's image operations.

``names`` and ``manifest`` are the words, ``store`` keeps them, ``server`` speaks the distribution API,
``client`` asks any such server, ``ecr`` answers the same store's images as Amazon ECR does.
"""
