"""One thin file a DVC stage: load, call one thing, save."""
