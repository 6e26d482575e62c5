//! Every metric in one table, by Connect's names.
