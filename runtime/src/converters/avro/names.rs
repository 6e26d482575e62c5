//! The names AvroData gives things, so that schemas mean the same to Java.

pub(super) const NAMESPACE: &str = "io.confluent.connect.avro";
/// The record name of a struct without name.
pub(super) const DEFAULT_FULL_NAME: &str = "io.confluent.connect.avro.ConnectDefault";
/// The record name of an entry of a map whose keys are not strings.
pub(super) const MAP_ENTRY: &str = "MapEntry";
/// The name of a struct that stands for a union.
pub(super) const UNION: &str = "io.confluent.connect.avro.Union";
/// The parameter that names an enum, and with `.SYMBOL` its symbols.
pub(super) const ENUM: &str = "io.confluent.connect.avro.Enum";
/// The record that holds a value without schema.
pub(super) const ANYTHING: &str = "io.confluent.connect.avro.Anything";

pub(super) const CONNECT_NAME: &str = "connect.name";
pub(super) const CONNECT_DOC: &str = "connect.doc";
pub(super) const CONNECT_VERSION: &str = "connect.version";
pub(super) const CONNECT_DEFAULT: &str = "connect.default";
pub(super) const CONNECT_PARAMETERS: &str = "connect.parameters";
pub(super) const CONNECT_TYPE: &str = "connect.type";
pub(super) const CONNECT_INTERNAL_TYPE: &str = "connect.internal.type";

pub(super) const RECORD_DOC: &str = "io.confluent.connect.avro.record.doc";
pub(super) const FIELD_DOC_PREFIX: &str = "io.confluent.connect.avro.field.doc.";
pub(super) const ENUM_DOC_PREFIX: &str = "io.confluent.connect.avro.enum.doc.";
pub(super) const ENUM_DEFAULT_PREFIX: &str = "io.confluent.connect.avro.enum.default.";
/// Says that a default was the Avro field's and not `connect.default`.
pub(super) const FIELD_DEFAULT: &str = "io.confluent.connect.avro.field.default";
pub(super) const DECIMAL_PRECISION: &str = "connect.decimal.precision";
pub(super) const DECIMAL_PRECISION_DEFAULT: i64 = 64;
pub(super) const FIXED_SIZE: &str = "connect.fixed.size";
/// Properties that begin so become parameters, and back.
pub(super) const AVRO_PROP_PREFIX: &str = "avro";
