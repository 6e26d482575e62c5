//! What was measured: a file for programs, a table for people, and how it stands to the bars.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Serialize, Serializer};

use super::Case;
use super::systems::System;
use crate::report::save;

/// One entry of `silence.json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Silence {
    pub(super) system: &'static str,
    pub(super) case: Case,
    pub(super) partitions: Partitions,
    pub(super) run: u32,
    pub(super) partition: String,
    pub(super) silence_ms: u64,
}

/// Whose partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Partitions {
    Lost,
    Survivors,
    All,
    /// All of them, as a plain consumer saw them.
    Control,
}

impl Serialize for Case {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl Case {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A line of the table.
const LINES: [(Case, Partitions); 10] = [
    (Case::KillFollower, Partitions::Lost),
    (Case::KillFollower, Partitions::Survivors),
    (Case::KillFollower, Partitions::Control),
    (Case::KillLeader, Partitions::Lost),
    (Case::KillLeader, Partitions::Survivors),
    (Case::KillLeader, Partitions::Control),
    (Case::RollingRestart, Partitions::All),
    (Case::RollingRestart, Partitions::Control),
    (Case::WorkerAdded, Partitions::All),
    (Case::WorkerAdded, Partitions::Control),
];

pub(super) struct Report {
    output: PathBuf,
    session_ms: u32,
    all: Vec<Silence>,
    failures: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(output: PathBuf, session_ms: u32) -> Self {
        Self { output, session_ms, all: Vec::new(), failures: Vec::new() }
    }

    /// Adds measurements of one kind, and writes the file anew: an interrupted bench leaves what it has.
    pub(super) fn add(&mut self, measured: Vec<Silence>) -> Result<()> {
        if let Some(first) = measured.first() {
            let sorted = sorted(measured.iter());
            eprintln!(
                "bench: {} {}, run {}, {:?} partitions: p50 {:.2} s, longest {:.2} s",
                first.system,
                first.case.name(),
                first.run,
                first.partitions,
                percentile(&sorted, 50),
                percentile(&sorted, 100)
            );
        }
        self.all.extend(measured);
        save(&self.output, serde_json::to_string(&self.all)?)
    }

    pub(super) fn failed(&mut self, system: System, error: &anyhow::Error) {
        eprintln!("bench: {}: {error:#}", system.name());
        self.failures.push(system.name());
    }

    /// An error if something could not be measured.
    pub(super) fn outcome(&self) -> Result<()> {
        match self.failures.as_slice() {
            [] => Ok(()),
            failures => bail!("could not measure all of {}", failures.join(", ")),
        }
    }

    pub(super) fn print(&self) {
        println!("\nSilence for each partition, in seconds; workers with a session of {} ms.\n", self.session_ms);
        println!("| case | partitions | system | runs | p50 | p99 | longest | bar |");
        println!("| --- | --- | --- | ---: | ---: | ---: | ---: | --- |");
        for (case, partitions) in LINES {
            for system in System::ALL {
                let of: Vec<&Silence> = self.all.iter().filter(|s| s.is_of(case, partitions, system)).collect();
                if !of.is_empty() {
                    println!("{}", self.line(case, partitions, system, &of));
                }
            }
        }
        println!("\n{} holds it all.", self.output.display());
    }

    fn line(&self, case: Case, partitions: Partitions, system: System, of: &[&Silence]) -> String {
        let runs = of.iter().map(|silence| silence.run).collect::<BTreeSet<_>>().len();
        let sorted = sorted(of.iter().copied());
        let p99 = percentile(&sorted, 99);
        let bar = if system == System::Penstock { self.verdict(case, partitions, p99) } else { String::new() };
        format!(
            "| {} | {} | {} | {runs} | {:.2} | {p99:.2} | {:.2} | {bar} |",
            case.name(),
            format!("{partitions:?}").to_lowercase(),
            system.name(),
            percentile(&sorted, 50),
            percentile(&sorted, 100)
        )
    }

    /// The bar, and whether the 99th percentile keeps it; there is none for what only tells of the machine.
    fn verdict(&self, case: Case, partitions: Partitions, p99: f64) -> String {
        let bar = match (case, partitions) {
            (_, Partitions::Control) => return String::new(),
            (_, Partitions::Lost) => f64::from(self.session_ms) / 1000.0 + 2.0,
            (Case::RollingRestart, _) => 1.0,
            _ => 0.2,
        };
        format!("<= {bar:.1}: {}", if p99 <= bar { "kept" } else { "missed" })
    }
}

impl Silence {
    fn is_of(&self, case: Case, partitions: Partitions, system: System) -> bool {
        self.case == case && self.partitions == partitions && self.system == system.name()
    }
}

/// In seconds.
fn sorted<'s>(silences: impl Iterator<Item = &'s Silence>) -> Vec<f64> {
    let mut seconds: Vec<f64> = silences.map(|silence| silence.silence_ms as f64 / 1000.0).collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// By nearest rank: a value that was measured, and `percent` of all are no longer.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let sorted: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&sorted, percent)), [100.0, 198.0, 200.0]);
        assert_eq!(percentile(&[7.0], 50), 7.0);
    }
}
