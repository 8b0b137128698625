"""Values without torch: errors, parts, search parameters, the loading of files."""
