//! Assignments by their properties, and the whole protocol played through: leader, workers, crashes, a log.

use std::sync::Arc;

use penstock_api::TaskId;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

use super::super::share::Placement;
use super::*;
use crate::store::assignment::Entry;

fn task(connector: usize, task: u32) -> Unit {
    Unit::Task(TaskId { connector: format!("c{connector}").into(), task })
}

fn connector_unit(connector: usize) -> Unit {
    Unit::Connector(format!("c{connector}").into())
}

/// Connectors with so many tasks each.
fn units(tasks: &[u32]) -> BTreeSet<Unit> {
    let of = |(n, count): (usize, &u32)| [connector_unit(n)].into_iter().chain((0..*count).map(move |t| task(n, t)));
    tasks.iter().enumerate().flat_map(of).collect()
}

fn worker(n: usize) -> WorkerId {
    format!("w{n}").into()
}

fn working(numbers: impl IntoIterator<Item = usize>) -> BTreeMap<WorkerId, Presence> {
    numbers.into_iter().map(|n| (worker(n), Presence::Working { member: format!("m{n}") })).collect()
}

/// The assignment after `last`, or that one.
fn next(last: &Assignment, units: &BTreeSet<Unit>, workers: &BTreeMap<WorkerId, Presence>) -> Assignment {
    let notes = BTreeMap::new();
    assign(last, &Situation { units, workers, notes: &notes }).unwrap_or_else(|| last.clone())
}

fn loads(assignment: &Assignment, of_tasks: bool) -> Vec<usize> {
    let count = |share: &Share| share.units.iter().filter(|unit| matches!(unit, Unit::Task(_)) == of_tasks).count();
    assignment.shares.values().map(count).collect()
}

fn owners(assignment: &Assignment) -> BTreeMap<&Unit, &WorkerId> {
    let of = |(worker, share)| Share::units_of(share).map(move |unit| (unit, worker));
    assignment.shares.iter().flat_map(of).collect()
}

impl Share {
    fn units_of(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter()
    }
}

#[test]
fn the_tasks_of_one_connector_are_spread() {
    let assignment = next(&Assignment::default(), &units(&[3, 3, 3]), &working(0..3));
    for share in assignment.shares.values() {
        for n in 0..3 {
            assert_eq!(
                share.units.iter().filter(|unit| matches!(unit, Unit::Task(id) if *id.connector == *format!("c{n}"))).count(),
                1
            );
        }
    }
}

#[test]
fn a_lost_workers_units_go_to_the_others_and_nothing_else_moves() {
    let all = units(&[4, 5, 1, 0]);
    let before = next(&Assignment::default(), &all, &working(0..3));
    let after = next(&before, &all, &working([0, 2]));
    let (was, is) = (owners(&before), owners(&after));
    for unit in &all {
        if **was[unit] != *worker(1) {
            assert_eq!(was[unit], is[unit], "{unit:?}");
        }
    }
    assert!(after.leftovers.is_empty(), "what is gone holds nothing: {:?}", after.leftovers);
    assert_eq!(next(&after, &all, &working([0, 2])), after, "nothing changes without a reason");
}

#[test]
fn what_moves_is_left_over_until_it_is_released() {
    let all = units(&[4]);
    let before = next(&Assignment::default(), &all, &working([0]));
    let after = next(&before, &all, &working([0, 1]));
    let moved: Vec<_> = after.shares[&worker(1)].units.iter().cloned().collect();
    assert_eq!(moved.len(), 2, "two of four tasks; the one connector stays");
    let mut placement = Placement { assignment: Arc::new(after.clone()), ..Placement::default() };
    let may_run = |placement: &Placement| placement.may_run("w1", "m1", &moved[0]);
    assert!(!may_run(&placement), "nobody has said that it ended");
    let note = |version, releasing: &[Unit]| Note { version, releasing: releasing.iter().cloned().collect(), ..Note::default() };
    for (said, expected) in [(note(1, &[]), false), (note(2, &moved), false), (note(2, &moved[1..]), true)] {
        placement.apply(Entry::Note(worker(0), Some(said)));
        assert_eq!(may_run(&placement), expected);
    }
    assert!(!placement.may_run("w1", "another", &moved[0]), "it was given to another start of this worker");
    // The lost worker cannot say anything any more.
    let gone = next(&after, &all, &working([1]));
    assert!(gone.leftovers.is_empty() && gone.shares[&worker(1)].units.len() == 5);
}

#[test]
fn an_absent_worker_keeps_its_units_and_gets_none() {
    let all = units(&[6]);
    let before = next(&Assignment::default(), &all, &working(0..2));
    let mut workers = working([1, 2]);
    workers.insert(worker(0), Presence::Absent);
    let after = next(&before, &all, &workers);
    assert_eq!(after.shares[&worker(0)], before.shares[&worker(0)]);
    let tasks = |n| after.shares[&worker(n)].units.iter().filter(|unit| matches!(unit, Unit::Task(_))).count();
    assert_eq!((tasks(1), tasks(2)), (2, 1));
    // It comes back as another member, to what it had.
    let mut back = working(1..3);
    back.insert(worker(0), Presence::Working { member: "again".into() });
    let back = next(&after, &all, &back);
    let share = &back.shares[&worker(0)];
    assert_eq!((share.member.as_str(), share.units.len()), ("again", before.shares[&worker(0)].units.len() - 1));
}

#[test]
fn whoever_leaves_gives_everything_up() {
    let all = units(&[3]);
    let before = next(&Assignment::default(), &all, &working(0..2));
    let mut workers = working([1]);
    workers.insert(worker(0), Presence::Leaving);
    let after = next(&before, &all, &workers);
    assert_eq!(after.shares.keys().collect::<Vec<_>>(), [&worker(1)]);
    assert_eq!(after.leftovers.len(), before.shares[&worker(0)].units.len());
    // And when the last one leaves, nobody is there.
    workers.insert(worker(1), Presence::Leaving);
    assert!(next(&after, &all, &workers).shares.is_empty());
}

/// Runs a property with a seed that is printed, and can be given again.
fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> TestCaseResult) {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64);
    let seed: u64 = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(now);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, rng);
    runner.run(strategy, test).unwrap_or_else(|failure| panic!("rerun with SEED={seed}: {failure}"));
}

#[test]
fn every_assignment_is_complete_balanced_and_sticky() {
    let step = (prop::collection::vec(0..7u32, 0..6), prop::collection::btree_set(0..6usize, 0..6));
    check(500, &prop::collection::vec(step, 1..8), |steps| {
        let mut last = Assignment::default();
        for (tasks, numbers) in steps {
            let (all, workers) = (units(&tasks), working(numbers));
            let now = next(&last, &all, &workers);
            let is = owners(&now);
            prop_assert_eq!(now.shares.values().map(|share| share.units.len()).sum::<usize>(), is.len(), "one owner each");
            prop_assert_eq!(is.len(), if workers.is_empty() { 0 } else { all.len() });
            for of_tasks in [true, false] {
                let loads = loads(&now, of_tasks);
                let spread = loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0);
                prop_assert!(spread <= 1, "{:?}", loads);
            }
            prop_assert_eq!(moved_but_need_not(&last, &now, &all, &workers), Vec::<Unit>::new());
            prop_assert_eq!(&next(&now, &all, &workers), &now);
            last = now;
        }
        Ok(())
    });
}

/// Units that left a worker which is still there and had no more than its part.
fn moved_but_need_not(
    last: &Assignment,
    now: &Assignment,
    all: &BTreeSet<Unit>,
    workers: &BTreeMap<WorkerId, Presence>,
) -> Vec<Unit> {
    let (was, is) = (owners(last), owners(now));
    let mut needless = Vec::new();
    for of_tasks in [true, false] {
        let of_kind = |unit: &&Unit| matches!(unit, Unit::Task(_)) == of_tasks;
        let count = all.iter().filter(of_kind).count();
        for worker in workers.keys() {
            let had: Vec<_> = all.iter().filter(of_kind).filter(|unit| was.get(unit) == Some(&worker)).collect();
            let kept = had.iter().filter(|unit| is.get(**unit) == Some(&worker)).count();
            // Nobody goes below the smaller part.
            if kept < had.len().min(count / workers.len()) {
                needless.extend(had.into_iter().cloned());
            }
        }
    }
    needless
}

/// A step of a cluster's life. Numbers stand for workers; what does not apply is passed over.
#[derive(Clone, Debug)]
enum Step {
    Start(usize),
    Crash(usize),
    /// The session of one that crashed, or froze, ends.
    Expire(usize),
    /// One whose session ended though it lives sees it, and joins anew.
    Rejoin(usize),
    Leave(usize),
    Quit(usize),
    Read(usize),
    /// Something that was stopping has ended.
    End(usize),
    Say(usize),
    Lead,
    Units(Vec<u32>),
}

fn step() -> impl Strategy<Value = Step> {
    let n = || 0..4usize;
    prop_oneof![
        3 => n().prop_map(Step::Start),
        1 => n().prop_map(Step::Crash),
        2 => n().prop_map(Step::Expire),
        1 => n().prop_map(Step::Rejoin),
        1 => n().prop_map(Step::Leave),
        1 => n().prop_map(Step::Quit),
        9 => n().prop_map(Step::Read),
        5 => n().prop_map(Step::End),
        6 => n().prop_map(Step::Say),
        5 => Just(Step::Lead),
        2 => prop::collection::vec(0..4u32, 0..3).prop_map(Step::Units),
    ]
}

#[derive(Default)]
struct Cluster {
    log: Vec<Entry>,
    /// The group: who is in it, as which member.
    group: BTreeMap<usize, String>,
    processes: BTreeMap<usize, Process>,
    units: BTreeSet<Unit>,
    members: usize,
}

struct Process {
    member: String,
    placement: Placement,
    read: usize,
    running: BTreeMap<Unit, Running>,
    said: Option<Note>,
    leaving: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Running {
    Live,
    Stopping,
    /// Left over from before an expulsion: the data plane fences it.
    Zombie,
}

impl Process {
    fn reconcile(&mut self, me: usize, units: &BTreeSet<Unit>) {
        let (placement, member) = (&self.placement, &self.member);
        let may_run = |unit: &Unit| units.contains(unit) && placement.may_run(&worker(me), member, unit);
        for (unit, running) in &mut self.running {
            if *running == Running::Live && !may_run(unit) {
                *running = Running::Stopping;
            }
        }
        for unit in units.iter().filter(|unit| may_run(unit)) {
            self.running.entry(unit.clone()).or_insert(Running::Live);
        }
    }

    fn note(&self, me: usize) -> Note {
        self.placement.note(&worker(me), &self.member, "u", self.leaving, self.running.keys())
    }
}

impl Cluster {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Start(n) if !self.processes.contains_key(n) => {
                let member = self.join(*n);
                let fresh = Process {
                    member,
                    placement: Placement::default(),
                    read: 0,
                    running: BTreeMap::new(),
                    said: None,
                    leaving: false,
                };
                self.processes.insert(*n, fresh);
            }
            Step::Crash(n) => drop(self.processes.remove(n)),
            Step::Expire(n) if self.processes.get(n).is_none_or(|process| !process.leaving) => {
                self.group.remove(n);
                if let Some(process) = self.processes.get_mut(n) {
                    process.running.values_mut().for_each(|running| *running = Running::Zombie);
                }
            }
            Step::Rejoin(n) if self.processes.contains_key(n) && !self.group.contains_key(n) => {
                let member = self.join(*n);
                self.processes.get_mut(n).expect("it is there").member = member;
            }
            Step::Leave(n) => drop(self.processes.get_mut(n).map(|process| process.leaving = true)),
            Step::Quit(n) if self.processes.get(n).is_some_and(|p| p.leaving && p.running.is_empty()) => {
                self.processes.remove(n);
                self.group.remove(n);
            }
            Step::Read(n) => {
                let (log, units) = (&self.log, &self.units);
                if let Some(process) = self.processes.get_mut(n) {
                    if let Some(entry) = log.get(process.read) {
                        process.placement.apply(entry.clone());
                        process.read += 1;
                    }
                    if self.group.contains_key(n) {
                        process.reconcile(*n, units);
                    }
                }
            }
            Step::End(n) => {
                if let Some(process) = self.processes.get_mut(n) {
                    let ended = process.running.iter().find(|(_, running)| **running != Running::Live);
                    if let Some(unit) = ended.map(|(unit, _)| unit.clone()) {
                        process.running.remove(&unit);
                    }
                }
            }
            Step::Say(n) => {
                if let Some(process) = self.processes.get_mut(n).filter(|_| self.group.contains_key(n)) {
                    let note = process.note(*n);
                    if process.said.as_ref().is_none_or(|said| process.placement.is_news(&worker(*n), said, &note)) {
                        process.said = Some(note.clone());
                        self.log.push(Entry::Note(worker(*n), Some(note)));
                    }
                }
            }
            Step::Lead => self.lead(),
            Step::Units(tasks) => self.units = units(tasks),
            _ => {}
        }
    }

    fn join(&mut self, n: usize) -> String {
        self.members += 1;
        let member = format!("m{n}-{}", self.members);
        self.group.insert(n, member.clone());
        member
    }

    /// Any worker may come to lead: it reads everything first.
    fn lead(&mut self) {
        let mut placement = Placement::default();
        self.log.iter().for_each(|entry| placement.apply(entry.clone()));
        let presence = |(n, member): (&usize, &String)| {
            let presence = match placement.notes.get(&worker(*n)).filter(|note| note.member == *member) {
                None => Presence::Arriving,
                Some(note) if note.leaving => Presence::Leaving,
                Some(_) => Presence::Working { member: member.clone() },
            };
            (worker(*n), presence)
        };
        let workers: BTreeMap<_, _> = self.group.iter().map(presence).collect();
        let situation = Situation { units: &self.units, workers: &workers, notes: &placement.notes };
        self.log.extend(assign(&placement.assignment, &situation).map(Entry::Assignment));
    }

    /// How many processes run each unit, zombies aside.
    fn running(&self) -> BTreeMap<&Unit, usize> {
        let mut running = BTreeMap::new();
        for process in self.processes.values() {
            for (unit, _) in process.running.iter().filter(|(_, running)| **running != Running::Zombie) {
                *running.entry(unit).or_default() += 1;
            }
        }
        running
    }

    /// Lets everything happen that has to.
    fn settle(&mut self) {
        for _ in 0..12 {
            for n in 0..4 {
                if !self.processes.contains_key(&n) {
                    self.group.remove(&n);
                }
                self.take(&Step::Rejoin(n));
                while self.processes.get(&n).is_some_and(|process| process.read < self.log.len()) {
                    self.take(&Step::Read(n));
                }
                self.take(&Step::Read(n));
                for _ in 0..20 {
                    self.take(&Step::End(n));
                }
                self.take(&Step::Read(n));
                self.take(&Step::Say(n));
            }
            self.lead();
        }
    }
}

#[test]
fn no_unit_ever_runs_on_two_workers_and_in_the_end_each_runs() {
    check(3000, &prop::collection::vec(step(), 0..80), |steps| {
        let mut cluster = Cluster { units: units(&[2, 1]), ..Cluster::default() };
        for step in &steps {
            cluster.take(step);
            let twice: Vec<Arc<str>> =
                cluster.running().iter().filter(|(_, count)| **count > 1).map(|(unit, _)| format!("{unit:?}").into()).collect();
            prop_assert!(twice.is_empty(), "{:?} after {:?}", twice, step);
        }
        cluster.settle();
        let someone = cluster.processes.values().any(|process| !process.leaving);
        let expected: BTreeMap<&Unit, usize> = cluster.units.iter().filter(|_| someone).map(|unit| (unit, 1)).collect();
        prop_assert_eq!(cluster.running(), expected);
        Ok(())
    });
}
