//! What was measured: a file for programs, a table for people, and how it stands to the bars.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cases::Case;
use crate::systems::System;

/// One line of `latest.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) case: &'static str,
    pub(crate) system: &'static str,
    pub(crate) run: u32,
    pub(crate) records: u64,
    pub(crate) cpu_us_per_record: f64,
    pub(crate) records_per_s: f64,
    pub(crate) rss_peak_mb: f64,
}

/// A case with a system.
pub(crate) struct Measured {
    pub(crate) runs: Vec<Run>,
    /// Start of the process to the first answer of `GET /`.
    pub(crate) first_answer: Option<Duration>,
    pub(crate) idle_rss_mb: Option<f64>,
}

pub(crate) struct Report {
    output: PathBuf,
    runs: Vec<Run>,
    starts: Vec<Start>,
    failures: Vec<String>,
}

struct Start {
    system: &'static str,
    first_answer: Duration,
    idle_rss_mb: f64,
}

impl Report {
    pub(crate) fn new(output: PathBuf) -> Self {
        Self { output, runs: Vec::new(), starts: Vec::new(), failures: Vec::new() }
    }

    /// Adds a measurement, and writes the file anew: an interrupted bench leaves what it has.
    pub(crate) fn add(&mut self, measured: Measured) -> Result<()> {
        if let (Some(first), Some(first_answer), Some(idle_rss_mb)) =
            (measured.runs.first(), measured.first_answer, measured.idle_rss_mb)
        {
            self.starts.push(Start { system: first.system, first_answer, idle_rss_mb });
        }
        for run in &measured.runs {
            eprintln!(
                "bench:   run {}: {:.2} us CPU a record, {:.0} records/s, peak {:.0} MB",
                run.run, run.cpu_us_per_record, run.records_per_s, run.rss_peak_mb
            );
        }
        self.runs.extend(measured.runs);
        if let Some(folder) = self.output.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        let text = serde_json::to_string_pretty(&self.runs)?;
        fs::write(&self.output, text + "\n").with_context(|| format!("write {}", self.output.display()))
    }

    pub(crate) fn failed(&mut self, case: Case, system: System, error: &anyhow::Error) {
        eprintln!("bench:   {error:#}");
        self.failures.push(format!("{case} with {system}"));
    }

    /// An error if something could not be measured.
    pub(crate) fn outcome(&self) -> Result<()> {
        match self.failures.as_slice() {
            [] => Ok(()),
            failures => bail!("could not measure {}", failures.join(", ")),
        }
    }

    pub(crate) fn print(&self) {
        println!("\n| case | system | run | records | CPU us/record | records/s | peak MB |");
        println!("| --- | --- | ---: | ---: | ---: | ---: | ---: |");
        for run in &self.runs {
            println!(
                "| {} | {} | {} | {} | {:.2} | {:.0} | {:.0} |",
                run.case, run.system, run.run, run.records, run.cpu_us_per_record, run.records_per_s, run.rss_peak_mb
            );
        }
        self.print_starts();
        self.print_bars();
        println!("\n{} holds it all.", self.output.display());
    }

    fn print_starts(&self) {
        println!("\n| system | first REST answer, s (fastest of its starts) | idle, MB (highest) |");
        println!("| --- | ---: | ---: |");
        for system in System::ALL.map(System::name) {
            if let Some((first_answer, idle)) = self.start_of(system) {
                println!("| {system} | {first_answer:.2} | {idle:.0} |");
            }
        }
    }

    fn start_of(&self, system: &str) -> Option<(f64, f64)> {
        let starts = || self.starts.iter().filter(|start| start.system == system);
        let first_answer = starts().map(|start| start.first_answer.as_secs_f64()).reduce(f64::min)?;
        Some((first_answer, starts().map(|start| start.idle_rss_mb).fold(0.0, f64::max)))
    }

    /// The bars of the first release. Warm runs are compared: the last of each.
    fn print_bars(&self) {
        let cpu = |case: Case, system: System| {
            let mut runs = self.runs.iter().filter(|run| run.case == case.name() && run.system == system.name());
            runs.next_back().map(|run| run.cpu_us_per_record)
        };
        let ours = |case| cpu(case, System::Penstock);
        let java = |case| [System::Java, System::JavaLean].into_iter().filter_map(|system| cpu(case, system)).reduce(f64::min);
        let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under?);
        let peak =
            self.runs.iter().filter(|run| run.system == System::Penstock.name()).map(|run| run.rss_peak_mb).reduce(f64::max);
        let start = self.start_of(System::Penstock.name());
        let identity = || Some((ours(Case::JsonIdentityComponent)? - ours(Case::Json)?) * 1000.0);

        println!("\n| bar (last runs; Java is the cheaper of its two) | wanted | reached |");
        println!("| --- | ---: | ---: |");
        bar("bytes, us a record", "<= 0.60", ours(Case::Bytes));
        bar("bytes, times librdkafka alone", "<= 1.35", ratio(ours(Case::Bytes), cpu(Case::Bytes, System::Librdkafka)));
        bar("JSON, times cheaper than Java", ">= 3", ratio(java(Case::Json), ours(Case::Json)));
        bar("JSON + 3 SMTs, times cheaper than Java", ">= 2.5", ratio(java(Case::Json3Smt), ours(Case::Json3Smt)));
        bar("identity component, ns a record more", "<= 50", identity());
        bar("idle memory, MB", "<= 40", start.map(|(_, idle)| idle));
        bar("memory under load, MB", "<= 150", peak);
        bar("first REST answer, s", "<= 0.5", start.map(|(first_answer, _)| first_answer));
    }
}

fn bar(what: &str, wanted: &str, reached: Option<f64>) {
    if let Some(reached) = reached {
        println!("| {what} | {wanted} | {reached:.2} |");
    }
}
