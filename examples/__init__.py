"""Short programs to start from; each says in its first lines how it is run, from the repository's root."""
