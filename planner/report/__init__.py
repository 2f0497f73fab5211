"""Plans as text and as JSON values: a value in, a value out, nothing printed or written."""
