//! What flows through Penstock, and the traits of those who handle it. No I/O, and no crate of ours below it.
//!
//! In reading order: what can go wrong, what a value is, what carries it, and who works on it.

pub mod error;
pub mod schema;
pub mod value;
pub mod map;
pub mod java;
pub mod path;
pub mod json;
pub mod payload;
pub mod record;
pub mod batch;
pub mod config;
pub mod transform;
pub mod converter;
pub mod connector;
pub mod copies;
pub mod source;
pub mod metrics;
pub mod pace;
pub mod registry;

pub use batch::{Batch, Failure, Row, Verdict};
pub use config::{ConfigDef, ConfigKey, ConfigType, Importance, Parsed, Props};
pub use connector::{Connector, OffsetChanges, Offsets, SinkConnector, SinkContext, SinkTask, TaskId, TopicPartition};
pub use converter::{Converter, HeaderConverter};
pub use copies::{CopiedPartition, CopyMetrics, Spread};
pub use error::{Error, ErrorKind, Result};
pub use map::Map;
pub use metrics::PluginMetrics;
pub use pace::Pace;
pub use path::FieldPath;
pub use payload::{Encoded, Format, Payload};
pub use record::{Header, Headers, Origin, RawRecord, Record, SinkRecord, TimestampType};
pub use registry::{Constructor, Plugin, PluginKind, Registry};
pub use schema::{Field, Kind, Schema, SchemaRef};
pub use source::{
    Delivered, ExactlyOnceSupport, Next, Polled, SourceConnector, SourceContext, SourceMap, SourceOffset, SourcePosition,
    SourceRecord, SourceTask, StoredOffsets, TransactionBoundary, TransactionEnd,
};
pub use transform::{Flow, Part, Predicate, Transform};
pub use value::{SchemaAndValue, Struct, Value};

// Crates whose types stand in public signatures here, so that plugin authors use the same version.
pub use async_trait::async_trait;
pub use bigdecimal::{self, BigDecimal};
pub use bytes::{self, Bytes};
pub use compact_str::{self, CompactString};
