//! Transforms that do what they should not, each in one way; most only on rows whose value has the text field `poison`.

use penstock_plugin::wit::batches::{Batch as Raw, BytesColumn, Encoding, HeaderForm, NameColumn, S64Column};
use penstock_plugin::wit::types;
use penstock_plugin::{Batch, ColumnTransform, ConfigDef, Error, Part, Result, TextEdits, TransformClass};

type Misdeed = fn(&Batch<'_>) -> Result<()>;

struct Hostile(Misdeed);

impl ColumnTransform for Hostile {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        (self.0)(batch)
    }
}

fn is_poisoned(batch: &Batch<'_>) -> bool {
    batch.texts(Part::Value, "poison").iter().any(|poison| poison.is_some())
}

/// Every row gets a mark, so that tests see which were worked on.
fn mark(batch: &Batch<'_>) {
    let mut marks = TextEdits::new();
    (0..batch.len()).for_each(|row| marks.set(row, "yes"));
    batch.set_texts(Part::Value, "marked", &marks);
}

fn trap_on_poison(batch: &Batch<'_>) -> Result<()> {
    // Noted before the trap, so a test sees that nothing of it stays.
    mark(batch);
    if is_poisoned(batch) {
        panic!("cannot stand poison");
    }
    Ok(())
}

fn loop_on_poison(batch: &Batch<'_>) -> Result<()> {
    mark(batch);
    let poisoned = is_poisoned(batch);
    while std::hint::black_box(poisoned) {}
    Ok(())
}

fn sleep_on_poison(batch: &Batch<'_>) -> Result<()> {
    mark(batch);
    if is_poisoned(batch) {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
    Ok(())
}

/// Traps on poison, and takes its time for a row with the text field `slow`, as good as any.
fn trap_on_poison_and_dawdle(batch: &Batch<'_>) -> Result<()> {
    if batch.texts(Part::Value, "slow").iter().any(|slow| slow.is_some()) {
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    trap_on_poison(batch)
}

fn hog_on_poison(batch: &Batch<'_>) -> Result<()> {
    mark(batch);
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    while is_poisoned(batch) {
        hoard.push(vec![1; 1 << 20]);
    }
    Ok(())
}

fn misuse_on_poison(batch: &Batch<'_>) -> Result<()> {
    mark(batch);
    if is_poisoned(batch) {
        batch.raw().set_text(VALUE, "a", Some(&[0]), &one(b"x", &[4_000_000_000], &[]));
    }
    Ok(())
}

fn recurse(batch: &Batch<'_>) -> Result<()> {
    fn deeper(n: u64) -> u64 {
        if std::hint::black_box(n) == u64::MAX { 0 } else { 1 + std::hint::black_box(deeper(n + 1)) }
    }
    assert!(deeper(batch.len() as u64) > 0);
    Ok(())
}

fn flood_the_log(batch: &Batch<'_>) -> Result<()> {
    for at in 0..100_000 {
        penstock_plugin::log::warn(&format!("line {at} of a flood over {} rows", batch.len()));
    }
    Ok(())
}

fn flood_with_changes(batch: &Batch<'_>) -> Result<()> {
    let mut marks = TextEdits::new();
    let long = "x".repeat(1 << 20);
    marks.set(0, &long);
    loop {
        batch.set_texts(Part::Value, "long", &marks);
    }
}

fn reach_out(_: &Batch<'_>) -> Result<()> {
    let mut reached = Vec::new();
    if std::fs::read("/etc/passwd").is_ok() {
        reached.push("a file");
    }
    if std::fs::write("/tmp/penstock-was-here", "x").is_ok() {
        reached.push("a new file");
    }
    if std::env::vars().next().is_some() || std::env::args().nth(1).is_some() {
        reached.push("the environment");
    }
    if std::net::UdpSocket::bind("127.0.0.1:0").is_ok() {
        reached.push("a datagram socket");
    }
    Err(Error::data(format!("reached: {}", if reached.is_empty() { "nothing".to_owned() } else { reached.join(", ") })))
}

fn one(data: &[u8], ends: &[u32], present: &[u8]) -> BytesColumn {
    BytesColumn { data: data.to_vec(), ends: ends.to_vec(), present: present.to_vec() }
}

fn raw(batch: &Batch<'_>, misuse: fn(&Raw)) -> Result<()> {
    misuse(batch.raw());
    Ok(())
}

const VALUE: types::Part = types::Part::Value;

const MISUSES: &[(&str, fn(&Raw))] = &[
    ("EndsBeyond", |b| b.set_text(VALUE, "a", Some(&[0]), &one(b"x", &[4_000_000_000], &[]))),
    ("EndsDescend", |b| b.set_text(VALUE, "a", Some(&[0, 1]), &one(b"xy", &[2, 1], &[]))),
    ("EndsMissing", |b| b.replace(VALUE, Encoding::Raw, None, &one(b"x", &[], &[]))),
    ("BitmapShort", |b| b.set_s64(VALUE, "a", None, &S64Column { values: vec![0; b.len() as usize], present: vec![1; 9999] })),
    ("NotUtf8", |b| b.set_text(VALUE, "a", Some(&[0]), &one(b"\xff", &[1], &[]))),
    ("RowBeyond", |b| b.discard(&[u32::MAX])),
    ("RowsOutOfOrder", |b| b.set_text(VALUE, "a", Some(&[1, 0]), &one(b"xy", &[1, 2], &[]))),
    ("RowsTwice", |b| b.set_text(VALUE, "a", Some(&[0, 0]), &one(b"xy", &[1, 2], &[]))),
    ("NameBeyond", |b| b.set_topics(Some(&[0]), &NameColumn { names: vec!["a".into()], index: vec![7] })),
    ("NoPath", |b| drop(b.get_text(VALUE, "a.`b"))),
    ("LongPath", |b| drop(b.get_text(VALUE, &"x".repeat(5000)))),
    ("ManyPaths", |b| (0..5000).for_each(|at| drop(b.get_text(VALUE, &format!("p{at}"))))),
    ("ManyCopies", |b| (0..5000).for_each(|_| assert!(b.copy(&[0]) > 0))),
    ("NoSchema", |b| drop(b.schema(99))),
    ("HeaderNotUtf8", |b| b.set_header("h", HeaderForm::Text, Some(&[0]), &one(b"\xff", &[1], &[]))),
];

fn classes() -> Vec<TransformClass> {
    let hostile = |name: &str, misdeed: Misdeed| {
        let name = format!("penstock.tests.{name}");
        TransformClass::columns(&name, "1.0.0", ConfigDef::default(), move |_| Ok(Hostile(misdeed)))
    };
    let mut classes = vec![
        hostile("TrapOnPoison", trap_on_poison),
        hostile("TrapOnPoisonAndDawdle", trap_on_poison_and_dawdle),
        hostile("LoopOnPoison", loop_on_poison),
        hostile("SleepOnPoison", sleep_on_poison),
        hostile("HogOnPoison", hog_on_poison),
        hostile("MisuseOnPoison", misuse_on_poison),
        hostile("Recurse", recurse),
        hostile("FloodTheLog", flood_the_log),
        hostile("FloodWithChanges", flood_with_changes),
        hostile("ReachOut", reach_out),
        hostile("BadTopic", |batch| {
            batch.set_topics([(0, "no such/topic name")]);
            Ok(())
        }),
        hostile("FailFatally", |batch| {
            batch.fail([(0, Error::fatal("the disk is gone"))]);
            Ok(())
        }),
        hostile("RefuseAll", |_| Err(Error::data("none of these"))),
        TransformClass::columns("penstock.tests.TrapAtConfigure", "1.0.0", ConfigDef::default(), |_| -> Result<Hostile> {
            panic!("no licence for this task")
        }),
        TransformClass::columns("penstock.tests.RefuseConfiguration", "1.0.0", ConfigDef::default(), |_| -> Result<Hostile> {
            Err(Error::config("`mode` must not be `x`"))
        }),
        TransformClass::columns("penstock.tests.LoopAtConfigure", "1.0.0", ConfigDef::default(), |_| -> Result<Hostile> {
            loop {
                std::hint::black_box(());
            }
        }),
    ];
    for (name, misuse) in MISUSES {
        let misuse = *misuse;
        let class = format!("penstock.tests.{name}");
        classes.push(TransformClass::columns(&class, "1.0.0", ConfigDef::default(), move |_| Ok(Misusing(misuse))));
    }
    classes
}

struct Misusing(fn(&Raw));

impl ColumnTransform for Misusing {
    fn apply(&mut self, batch: &Batch<'_>) -> Result<()> {
        raw(batch, self.0)
    }
}

penstock_plugin::export_transforms!(classes);
