//! Connect's own transforms and predicates.
