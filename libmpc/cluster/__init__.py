"""A deployment as the owner of models sees it: share, serve, stop and delete."""
