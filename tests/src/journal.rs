//! What the sinks of a cluster did: a file to which Blackhole's tasks, of all workers, add a line for each start, stop and put.
//! It tells what nobody took, what ran twice, and where there was silence for how long.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

/// A topic's partition.
pub type Place = (Arc<str>, i32);

/// By partition: an offset, or a number of records.
pub type Offsets = BTreeMap<Place, i64>;

/// The file, as far as it was read.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    read_bytes: u64,
    /// The begin of a line whose end was not written yet.
    rest: String,
    pub starts: Vec<Life>,
    pub stops: Vec<Life>,
    pub puts: Vec<Put>,
    taken: BTreeMap<Place, Taken>,
    /// The newest of each partition.
    last: BTreeMap<Place, Put>,
}

/// A task began or ended.
#[derive(Clone, Debug)]
pub struct Life {
    pub at_ms: u128,
    pub process: u32,
    /// `connector-number`.
    pub task: Arc<str>,
}

/// Records that a task took at once.
#[derive(Clone, Debug)]
pub struct Put {
    pub at_ms: u128,
    pub process: u32,
    pub task: Arc<str>,
    pub place: Place,
    pub offsets: RangeInclusive<i64>,
}

/// The time that journals are written in: milliseconds since 1970.
pub fn now_ms() -> u128 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis())
}

impl Journal {
    /// A file that need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read_bytes: 0,
            rest: String::new(),
            starts: Vec::new(),
            stops: Vec::new(),
            puts: Vec::new(),
            taken: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    /// `blackhole.journal.path`.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Reads what was added since it was read last.
    pub fn read_on(&mut self) -> Result<()> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        file.seek(SeekFrom::Start(self.read_bytes))?;
        let mut text = std::mem::take(&mut self.rest);
        self.read_bytes += file.read_to_string(&mut text).context("read the journal")? as u64;
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        self.rest = text.split_off(complete);
        text.lines().try_for_each(|line| self.line(line).with_context(|| format!("read the journal's line `{line}`")))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, process, task, what, ..] = words[..] else { bail!("it is too short") };
        let life = Life { at_ms: at.parse()?, process: process.parse()?, task: task.into() };
        match (what, &words[4..]) {
            ("start", []) => self.starts.push(life),
            ("stop", []) => self.stops.push(life),
            ("put", [topic, partition, first, last]) => {
                let offsets = first.parse()?..=last.parse()?;
                let place: Place = ((*topic).into(), partition.parse()?);
                self.taken.entry(place.clone()).or_default().add(&offsets);
                let Life { at_ms, process, task } = life;
                let put = Put { at_ms, process, task, place: place.clone(), offsets };
                self.last.insert(place, put.clone());
                self.puts.push(put);
            }
            _ => bail!("nobody knows what it says"),
        }
        Ok(())
    }

    /// How many of the records below these offsets nobody took, by partition; only where some are missing.
    pub fn missing(&self, ends: &Offsets) -> Offsets {
        let missing = |(place, end): (&Place, &i64)| {
            let taken = self.taken.get(place).map_or(0, |taken| taken.below(*end));
            (place.clone(), end - taken)
        };
        ends.iter().map(missing).filter(|(_, missing)| *missing > 0).collect()
    }

    /// The process and task that took the newest record of each partition.
    pub fn readers(&self) -> BTreeMap<Place, (u32, Arc<str>)> {
        self.last.iter().map(|(place, put)| (place.clone(), (put.process, put.task.clone()))).collect()
    }

    /// When records of each partition were taken last.
    pub fn last_put_ms(&self) -> BTreeMap<Place, u128> {
        self.last.iter().map(|(place, put)| (place.clone(), put.at_ms)).collect()
    }

    /// How often each task was started, by process.
    pub fn start_counts(&self) -> BTreeMap<(u32, Arc<str>), usize> {
        let mut counts = BTreeMap::new();
        for start in &self.starts {
            *counts.entry((start.process, start.task.clone())).or_default() += 1;
        }
        counts
    }

    /// The longest time between two puts of each partition, of those times that had not ended at `since_ms`. A partition that is
    /// silent still has been so until `until_ms`.
    pub fn silence(&self, since_ms: u128, until_ms: u128) -> BTreeMap<Place, Duration> {
        let mut puts: BTreeMap<&Place, Vec<u128>> = BTreeMap::new();
        for put in self.puts.iter().filter(|put| put.at_ms <= until_ms) {
            puts.entry(&put.place).or_default().push(put.at_ms);
        }
        let longest = |mut times: Vec<u128>| {
            // Each process writes in order; two that read a partition one after the other may have clocks read in between.
            times.sort_unstable();
            times.push(until_ms);
            let gaps = times.windows(2).filter(|pair| pair[1] >= since_ms).map(|pair| pair[1] - pair[0]);
            Duration::from_millis(u64::try_from(gaps.max().unwrap_or(0)).unwrap_or(u64::MAX))
        };
        puts.into_iter().map(|(place, times)| (place.clone(), longest(times))).collect()
    }
}

/// Which offsets were taken: ranges that do not touch, by their begins, with their ends behind the last.
#[derive(Debug, Default)]
struct Taken(BTreeMap<i64, i64>);

impl Taken {
    fn add(&mut self, offsets: &RangeInclusive<i64>) {
        let (mut begin, mut end) = (*offsets.start(), offsets.end() + 1);
        while let Some((from, to)) = self.0.range(..=end).next_back().map(|(from, to)| (*from, *to))
            && to >= begin
        {
            self.0.remove(&from);
            (begin, end) = (begin.min(from), end.max(to));
        }
        self.0.insert(begin, end);
    }

    /// How many offsets below this one.
    fn below(&self, limit: i64) -> i64 {
        self.0.range(..limit).map(|(begin, end)| (*end).min(limit) - begin).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn check(puts: &[(i64, i64)], limit: i64, expected: i64) {
        let mut taken = Taken::default();
        puts.iter().for_each(|(first, last)| taken.add(&(*first..=*last)));
        assert_eq!(taken.below(limit), expected, "{puts:?} below {limit}: {taken:?}");
    }

    #[test]
    fn counts_each_offset_once() {
        check(&[], 5, 0);
        check(&[(0, 4)], 5, 5);
        check(&[(0, 4)], 3, 3);
        check(&[(0, 1), (3, 4)], 5, 4);
        check(&[(3, 4), (0, 1)], 4, 3);
        check(&[(0, 1), (3, 4), (2, 2)], 5, 5);
        check(&[(0, 9), (2, 3), (2, 12)], 20, 13);
        check(&[(4, 5), (8, 9), (0, 20)], 20, 20);
    }

    #[test]
    fn reads_on_and_tells_silence_and_loss() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(folder.path().join("journal"));
        journal.read_on().unwrap();
        let mut file = File::create(journal.path()).unwrap();
        file.write_all(b"100 7 a-0 start\n100 7 a-0 put t 0 0 9\n150 7 a-0 put t 0 10 10\n900 8 a-0 pu").unwrap();
        journal.read_on().unwrap();
        assert_eq!((journal.starts.len(), journal.puts.len()), (1, 2));
        file.write_all(b"t t 0 12 12\n950 8 a-0 put t 0 13 13\n").unwrap();
        journal.read_on().unwrap();
        let place: Place = ("t".into(), 0);
        let silence = |since, until| journal.silence(since, until)[&place].as_millis();
        assert_eq!((silence(0, 1000), silence(200, 1000), silence(920, 1000), silence(960, 2000)), (750, 750, 50, 1050));
        assert_eq!(journal.missing(&[(place.clone(), 14)].into()), [(place.clone(), 1)].into());
        assert_eq!(journal.readers()[&place], (8, "a-0".into()));
        file.write_all(b"1 2\n").unwrap();
        assert!(journal.read_on().is_err());
    }
}
