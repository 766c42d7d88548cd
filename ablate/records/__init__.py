"""What a run leaves on disk: records, the folder of a sweep, locks, the machine and code that computed it."""
