"""Process startup, child processes, ports, system errors, escaping of external text."""
