"""Learning the albedo model of OpenHead from portraits."""
