"""From a list of configs to finished records: skip what is done, reuse, isolate failures, show progress."""
