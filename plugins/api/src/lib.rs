//! What flows through Penstock, and the traits of those who handle it: no I/O.
