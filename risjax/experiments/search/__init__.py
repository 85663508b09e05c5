"""Search of any settings by their dotted paths, for the reported metric, resumable, by one or many workers."""
