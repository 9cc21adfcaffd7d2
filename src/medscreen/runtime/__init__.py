"""The process: startup, child processes, ports, system errors, escaping of foreign text."""
