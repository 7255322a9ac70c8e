"""Text and tables as people have them: on this disk, in many formats, or on the Hub."""
