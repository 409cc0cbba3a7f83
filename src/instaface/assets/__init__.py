"""What ships with the package, and the registry of what the user adds."""
