"""What a setting is: its knobs, their legal values, what identifies it, and the words of a command that name them."""
