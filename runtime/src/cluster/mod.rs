//! The cluster: who does what.
