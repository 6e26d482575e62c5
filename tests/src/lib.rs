//! What the tests, the demo and the benchmarks share: real brokers, registries and rivals, and the tests.
