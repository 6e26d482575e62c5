//! Opens the rooms in order, waits for stop, closes them in reverse.
