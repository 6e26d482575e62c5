//! Tasks: the loops that move data.
