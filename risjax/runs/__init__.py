"""Run directories, terminal output, environment, compile cache, and several processes."""
