//! A sink that counts, and fails or lingers when told to.
