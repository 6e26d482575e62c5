//! What was measured: a file for programs, a table for people, and how it stands to the bars.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cases::Case;
use crate::mirror;
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
    /// Time on the clock that a record spent in transforms; only ours says so.
    #[serde(skip)]
    pub(crate) transform_ns_per_record: Option<f64>,
}

/// A case with a system.
pub(crate) struct Measured {
    pub(crate) runs: Vec<Run>,
    /// Start of the process to the first answer of `GET /`.
    pub(crate) first_answer: Option<Duration>,
    pub(crate) idle_rss_mb: Option<f64>,
    pub(crate) has_components: bool,
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
    has_components: bool,
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
            self.starts.push(Start { system: first.system, first_answer, idle_rss_mb, has_components: measured.has_components });
        }
        for run in &measured.runs {
            eprintln!(
                "bench:   run {}: {:.2} us CPU a record, {:.0} records/s, peak {:.0} MB",
                run.run, run.cpu_us_per_record, run.records_per_s, run.rss_peak_mb
            );
        }
        self.runs.extend(measured.runs);
        save(&self.output, serde_json::to_string_pretty(&self.runs)?)
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
        if self.runs.iter().any(|run| run.case == Case::Mirror.name()) {
            mirror::print_tuning();
        }
        self.print_starts();
        self.print_bars();
        println!("\n{} holds it all.", self.output.display());
    }

    fn print_starts(&self) {
        println!("\n| system | first REST answer, s (fastest of its starts) | idle, MB (highest) | idle with components, MB |");
        println!("| --- | ---: | ---: | ---: |");
        for system in System::ALL.map(System::name) {
            if let Some(first_answer) = self.first_answer(system) {
                let idle = [false, true].map(|components| self.idle(system, components));
                let [plain, with_components] = idle.map(|mb| mb.map_or("-".to_owned(), |mb| format!("{mb:.0}")));
                println!("| {system} | {first_answer:.2} | {plain} | {with_components} |");
            }
        }
    }

    fn first_answer(&self, system: &str) -> Option<f64> {
        let starts = self.starts.iter().filter(|start| start.system == system);
        starts.map(|start| start.first_answer.as_secs_f64()).reduce(f64::min)
    }

    fn idle(&self, system: &str, has_components: bool) -> Option<f64> {
        let starts = self.starts.iter().filter(|start| start.system == system && start.has_components == has_components);
        starts.map(|start| start.idle_rss_mb).reduce(f64::max)
    }

    fn runs_of(&self, case: Case, system: System) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(move |run| run.case == case.name() && run.system == system.name())
    }

    /// The bars of the first release. The cheapest run of each is compared: others on the machine only make runs dearer.
    fn print_bars(&self) {
        let cpu = |case: Case, system: System| self.runs_of(case, system).map(|run| run.cpu_us_per_record).reduce(f64::min);
        let ours = |case| cpu(case, System::Penstock);
        let java = |case| [System::Java, System::JavaLean].into_iter().filter_map(|system| cpu(case, system)).reduce(f64::min);
        let ratio = |over: Option<f64>, under: Option<f64>| Some(over? / under?);
        let peak =
            self.runs.iter().filter(|run| run.system == System::Penstock.name()).map(|run| run.rss_peak_mb).reduce(f64::max);
        let ours_is = System::Penstock.name();
        // By the worker's own clock of the stage: the difference of two runs is lost in their noise.
        let of_identity = self.runs_of(Case::JsonIdentityComponent, System::Penstock);
        let identity = of_identity.filter_map(|run| run.transform_ns_per_record).reduce(f64::min);

        println!("\n| bar (cheapest runs; Java is the cheaper of its two) | wanted | reached |");
        println!("| --- | ---: | ---: |");
        bar("bytes, us a record", "<= 0.60", ours(Case::Bytes));
        bar("bytes, times librdkafka alone", "<= 1.35", ratio(ours(Case::Bytes), cpu(Case::Bytes, System::Librdkafka)));
        bar("JSON, times cheaper than Java", ">= 3", ratio(java(Case::Json), ours(Case::Json)));
        bar("JSON + 3 SMTs, times cheaper than Java", ">= 2.5", ratio(java(Case::Json3Smt), ours(Case::Json3Smt)));
        bar("mirror, times cheaper than Java", ">= 3", ratio(java(Case::Mirror), ours(Case::Mirror)));
        bar("identity component, ns a record in its stage", "<= 50", identity);
        bar("idle memory, MB", "<= 40", self.idle(ours_is, false));
        bar("memory under load, MB", "<= 150", peak);
        bar("first REST answer, s", "<= 0.5", self.first_answer(ours_is));
    }
}

/// Writes what was measured, for programs.
pub(crate) fn save(output: &Path, text: String) -> Result<()> {
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(output, text + "\n").with_context(|| format!("write {}", output.display()))
}

fn bar(what: &str, wanted: &str, reached: Option<f64>) {
    if let Some(reached) = reached {
        println!("| {what} | {wanted} | {reached:.2} |");
    }
}
