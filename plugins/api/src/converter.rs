//! Converters: between the wire's bytes and payloads.

use bytes::Bytes;

use crate::error::Result;
use crate::payload::Payload;
use crate::record::{RawRecord, Record};
use crate::transform::Part;

/// Reads and writes keys or values of one task. Made for keys or for values, never both.
#[crate::async_trait]
pub trait Converter: Send {
    /// Says, before the first record, that a transform will look at each value: what has to be gone over to be checked may then be
    /// decoded as well.
    fn expect_look(&mut self) {}

    /// Fetches what [`to_connect`](Self::to_connect) will need for these records, e.g. schemas by id. Once for each batch.
    ///
    /// What cannot be fetched is no error here: the records that need it fail in `to_connect`, with the reason.
    async fn prefetch(&mut self, _records: &[RawRecord], _part: Part) {}

    /// Checks the bytes and says how to read them. `None` is a null on the wire.
    ///
    /// # Errors
    /// `Data` when the bytes are not of this format, `Retriable` when something needed could not be fetched.
    fn to_connect(&mut self, topic: &str, wire: Option<&Bytes>) -> Result<Payload>;

    /// Writes that half of each record as wire bytes, in order. Once for each batch.
    async fn from_connect(&mut self, records: &[&Record], part: Part) -> Vec<Result<Option<Bytes>>>;
}

/// Reads and writes header values.
pub trait HeaderConverter: Send {
    /// Says how to read the bytes of a header.
    fn to_connect(&mut self, topic: &str, header: &str, wire: Option<&Bytes>) -> Result<Payload>;

    /// Writes a header's value as wire bytes.
    fn from_connect(&mut self, topic: &str, header: &str, value: &Payload) -> Result<Option<Bytes>>;
}
