//! The retail example: events, connectors and the demo.
