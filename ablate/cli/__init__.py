"""The command line: what is typed, its help, and how every command begins and ends."""
