//! Checks a body against its schema without making values, so that a record that cannot be read fails at its converter.

use penstock_api::schema::logical;

use super::cursor::{Cursor, DEPTH_MAX, Read};
use super::schema::{AvroSchema, NodeKind};

/// A schema compiled for walking over bodies.
#[derive(Debug)]
pub(super) struct Checker {
    steps: Vec<Step>,
    root: usize,
}

/// How to pass over one value. Indexes are those of the schema's nodes.
#[derive(Debug)]
enum Step {
    /// So many bytes.
    Fixed(usize),
    Int,
    Long,
    Sized,
    /// A length and at least one byte: a number.
    Decimal,
    /// Milliseconds of one day.
    Time,
    Enum(usize),
    List {
        item: usize,
        item_bytes_min: usize,
    },
    Map {
        value: usize,
    },
    Union(Box<[usize]>),
    Record(Box<[usize]>),
}

/// Milliseconds of a day: `Time.toLogical` refuses more.
const DAY_MS: i32 = 86_400_000;

impl Checker {
    pub(super) fn new(schema: &AvroSchema) -> Self {
        let bytes_min = bytes_min(schema);
        let steps = schema.nodes().iter().map(|node| {
            let logical_type = node.text("logicalType").unwrap_or_default();
            let is = |avro: &str, connect: &str| {
                logical_type.eq_ignore_ascii_case(avro) || node.text("connect.name").is_some_and(|name| name == connect)
            };
            match &node.kind {
                NodeKind::Null => Step::Fixed(0),
                NodeKind::Boolean => Step::Fixed(1),
                NodeKind::Float => Step::Fixed(4),
                NodeKind::Double => Step::Fixed(8),
                NodeKind::Fixed { size, .. } => Step::Fixed(*size),
                NodeKind::Int if is("time-millis", logical::TIME) => Step::Time,
                NodeKind::Int => Step::Int,
                NodeKind::Long => Step::Long,
                NodeKind::Bytes if is("decimal", logical::DECIMAL) => Step::Decimal,
                NodeKind::Bytes | NodeKind::String => Step::Sized,
                NodeKind::Enum { symbols, .. } => Step::Enum(symbols.len()),
                NodeKind::Array(item) => Step::List { item: item.index(), item_bytes_min: bytes_min[item.index()] },
                NodeKind::Map(value) => Step::Map { value: value.index() },
                NodeKind::Union(branches) => Step::Union(branches.iter().map(|b| b.index()).collect()),
                NodeKind::Record { fields, .. } => Step::Record(fields.iter().map(|f| f.node.index()).collect()),
            }
        });
        Self { steps: steps.collect(), root: schema.root().index() }
    }

    /// Walks over one value. What follows it is ignored, as Java ignores it.
    pub(super) fn check(&self, body: &[u8]) -> Read<()> {
        self.pass(self.root, &mut Cursor::new(body), 0)
    }

    fn pass(&self, step: usize, cursor: &mut Cursor<'_>, depth: u32) -> Read<()> {
        match &self.steps[step] {
            Step::Fixed(size) => cursor.take(*size).map(drop),
            Step::Int => cursor.int().map(drop),
            Step::Long => cursor.long().map(drop),
            Step::Sized => cursor.sized().map(drop),
            Step::Decimal if cursor.sized()?.is_empty() => cursor.fail("a decimal without bytes"),
            Step::Decimal => Ok(()),
            Step::Time if !(0..=DAY_MS).contains(&cursor.int()?) => cursor.fail("a time that is not within a day"),
            Step::Time => Ok(()),
            Step::Enum(count) => cursor.index(*count, "an enum symbol that does not exist").map(drop),
            Step::Record(fields) => {
                let depth = deeper(cursor, depth)?;
                fields.iter().try_for_each(|field| self.pass(*field, cursor, depth))
            }
            Step::Union(branches) => {
                let branch = cursor.index(branches.len(), "a union branch that does not exist")?;
                self.pass(branches[branch], cursor, depth)
            }
            Step::List { item, item_bytes_min } => {
                let depth = deeper(cursor, depth)?;
                loop {
                    let count = cursor.block(*item_bytes_min)?;
                    if count == 0 {
                        return Ok(());
                    }
                    for _ in 0..count {
                        self.pass(*item, cursor, depth)?;
                    }
                }
            }
            Step::Map { value } => {
                let depth = deeper(cursor, depth)?;
                loop {
                    let count = cursor.block(1)?;
                    if count == 0 {
                        return Ok(());
                    }
                    for _ in 0..count {
                        cursor.sized()?;
                        self.pass(*value, cursor, depth)?;
                    }
                }
            }
        }
    }
}

fn deeper(cursor: &Cursor<'_>, depth: u32) -> Read<u32> {
    if depth >= DEPTH_MAX { cursor.fail("values nest too deep") } else { Ok(depth + 1) }
}

/// The fewest bytes a value of each node can have: 0 for nulls and what consists of them only.
pub(super) fn bytes_min(schema: &AvroSchema) -> Vec<usize> {
    let mut known = vec![0; schema.nodes().len()];
    // From zero upwards, so a type that contains itself settles; twice is enough to tell none from some.
    for _ in 0..2 {
        for (index, node) in schema.nodes().iter().enumerate().rev() {
            known[index] = match &node.kind {
                NodeKind::Null => 0,
                NodeKind::Float => 4,
                NodeKind::Double => 8,
                NodeKind::Fixed { size, .. } => *size,
                NodeKind::Record { fields, .. } => fields.iter().map(|f| known[f.node.index()]).fold(0, usize::saturating_add),
                _ => 1,
            };
        }
    }
    known
}
