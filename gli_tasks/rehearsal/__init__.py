"""The embedded twin of AWS on which a whole release is rehearsed."""
