//! What the config topic adds up to: `ConfigState`, an immutable snapshot, is the fold of its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_api::{Props, TaskId};

pub use super::event::{Event, Record, SessionKey, TargetState};

/// The configuration of the cluster, as of an offset in the config topic. Cloning it is cheap; readers hold an `Arc`.
#[derive(Clone, Debug, Default)]
pub struct ConfigState {
    /// Offset behind the newest record read.
    next_offset: i64,
    slots: BTreeMap<Arc<str>, Arc<Slot>>,
    session_key: Option<SessionKey>,
}

/// What is known of one name, be there a connector of that name or not: after compaction records come in any order.
#[derive(Clone, Debug, Default)]
struct Slot {
    connector: Option<Connector>,
    target: Option<TargetState>,
    tasks: Option<Tasks>,
    /// The newest commit came without all its tasks, which compaction can cause: they must be written again.
    inconsistent: bool,
    /// Written since the last commit.
    deferred: BTreeMap<u32, Arc<Props>>,
    /// Producers to fence before the next generation, and whether tasks were committed since that was written.
    fencing: Option<u32>,
    pending_fencing: bool,
}

#[derive(Clone, Debug)]
struct Connector {
    /// Offset of its record.
    written: i64,
    props: Arc<Props>,
}

#[derive(Clone, Debug)]
struct Tasks {
    /// Offset of the commit.
    committed: i64,
    props: Vec<Arc<Props>>,
    /// The connector's properties when they were committed; `None` when no connector was there.
    made_from: Option<Arc<Props>>,
}

/// A connector in a [`ConfigState`].
#[derive(Clone, Copy, Debug)]
pub struct ConnectorView<'s> {
    pub name: &'s Arc<str>,
    slot: &'s Slot,
    connector: &'s Connector,
}

impl ConfigState {
    /// Offset behind the newest record that went in.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// All connectors, by name.
    pub fn connectors(&self) -> impl Iterator<Item = ConnectorView<'_>> {
        self.slots.iter().filter_map(|(name, slot)| slot.view(name))
    }

    /// The connector of that name.
    #[must_use]
    pub fn connector(&self, name: &str) -> Option<ConnectorView<'_>> {
        let (name, slot) = self.slots.get_key_value(name)?;
        slot.view(name)
    }

    /// A target state, also where no connector is: left behind by a deletion that was cut short.
    #[must_use]
    pub fn lingering_target(&self, name: &str) -> Option<TargetState> {
        self.slots.get(name).filter(|slot| slot.connector.is_none()).and_then(|slot| slot.target)
    }

    /// Signs calls between workers.
    #[must_use]
    pub fn session_key(&self) -> Option<&SessionKey> {
        self.session_key.as_ref()
    }

    /// Takes in the record at `offset`. Restart requests and logger levels are no state: they leave only the offset.
    pub fn apply(&mut self, offset: i64, event: Event) {
        self.next_offset = offset + 1;
        match event {
            Event::Connector { name, props: Some(props) } => {
                self.slot(name).connector = Some(Connector { written: offset, props });
            }
            Event::Connector { name, props: None } => {
                // The target state has a tombstone of its own. A later connector of the same name has the same producers to fence.
                let Slot { target, fencing, .. } = *self.slot(name.clone());
                *self.slot(name) = Slot { target, fencing, ..Slot::default() };
            }
            Event::Task { id, props: Some(props) } => {
                self.slot(id.connector).deferred.insert(id.task, props);
            }
            Event::Task { id, props: None } => {
                self.slot(id.connector).deferred.remove(&id.task);
            }
            Event::Commit { name, tasks } => self.slot(name).commit(offset, tasks),
            Event::Target { name, state } => self.slot(name).target = state,
            Event::Fencing { name, tasks } => {
                let slot = self.slot(name);
                slot.fencing = tasks;
                slot.pending_fencing = false;
            }
            Event::SessionKey(key) => self.session_key = Some(key),
            Event::Restart { .. } | Event::LoggerLevel { .. } => {}
        }
    }

    /// Counts a record that said nothing.
    pub fn skip(&mut self, offset: i64) {
        self.next_offset = offset + 1;
    }

    fn slot(&mut self, name: Arc<str>) -> &mut Slot {
        Arc::make_mut(self.slots.entry(name).or_default())
    }
}

impl Slot {
    fn view<'s>(&'s self, name: &'s Arc<str>) -> Option<ConnectorView<'s>> {
        self.connector.as_ref().map(|connector| ConnectorView { name, slot: self, connector })
    }

    fn commit(&mut self, offset: i64, count: Option<u32>) {
        // Whatever it leads to: the next commit needs a fresh set.
        let deferred = std::mem::take(&mut self.deferred);
        self.pending_fencing = count.is_some();
        let Some(count) = count else {
            self.tasks = None;
            self.inconsistent = false;
            return;
        };
        // There may be more than `count`: left from a larger set whose commit was compacted away.
        let props: Option<Vec<_>> = (0..count).map(|task| deferred.get(&task).cloned()).collect();
        self.inconsistent = props.is_none();
        let made_from = self.connector.as_ref().map(|connector| connector.props.clone());
        self.tasks = props.map(|props| Tasks { committed: offset, props, made_from });
    }
}

impl<'s> ConnectorView<'s> {
    /// As the user wrote them.
    #[must_use]
    pub fn props(&self) -> &'s Arc<Props> {
        &self.connector.props
    }

    /// Offset of the record that holds them.
    #[must_use]
    pub fn written(&self) -> i64 {
        self.connector.written
    }

    /// What the user wants it to do.
    #[must_use]
    pub fn target(&self) -> TargetState {
        self.slot.target.unwrap_or(TargetState::Started)
    }

    /// The properties of its tasks, in order. They may be those of an older configuration.
    #[must_use]
    pub fn tasks(&self) -> &'s [Arc<Props>] {
        self.slot.tasks.as_ref().map_or(&[], |tasks| &tasks.props)
    }

    /// Offset of the commit, if the tasks may run: it was made for this connector, and is complete. Else they wait for the
    /// connector to plan anew. After compaction a commit may stand before the connector's record, and then nobody can tell
    /// whether it was made for this connector or for a deleted one of the same name.
    #[must_use]
    pub fn runnable_since(&self) -> Option<i64> {
        self.slot.tasks.as_ref().filter(|tasks| tasks.made_from.is_some()).map(|tasks| tasks.committed)
    }

    /// Whether these tasks are other than the written ones, or written for another configuration of the connector.
    #[must_use]
    pub fn tasks_differ(&self, planned: &[Arc<Props>]) -> bool {
        match &self.slot.tasks {
            Some(tasks) => tasks.props != planned || tasks.made_from.as_ref() != Some(self.props()),
            None => self.slot.inconsistent || !planned.is_empty(),
        }
    }

    /// Planned tasks with the `task.class` that the written ones have, if these are the same connector's. Only Java asks for it,
    /// and only Java knows it: a cluster that is taken over and handed back must not lose it.
    #[must_use]
    pub fn with_task_class(&self, mut planned: Vec<Arc<Props>>) -> Vec<Arc<Props>> {
        let class_of = |props: &Props| props.get("connector.class").cloned();
        let written = self
            .slot
            .tasks
            .as_ref()
            .filter(|tasks| tasks.made_from.as_ref().is_none_or(|made_from| class_of(made_from) == class_of(self.props())));
        if let Some(class) = written.and_then(|tasks| tasks.props.first()?.get("task.class")) {
            for task in planned.iter_mut().filter(|task| task.get("task.class") != Some(class)) {
                Arc::make_mut(task).insert("task.class".into(), class.clone());
            }
        }
        planned
    }

    /// Whether tasks are missing, which only planning anew can mend.
    #[must_use]
    pub fn is_inconsistent(&self) -> bool {
        self.slot.inconsistent
    }

    /// Producers to fence before new source tasks may start, if that has not happened since the last commit. `None`, too, when no tasks
    /// have ever run exactly once.
    #[must_use]
    pub fn pending_fencing(&self) -> Option<u32> {
        self.slot.fencing.filter(|_| self.slot.pending_fencing)
    }
}

/// The records that take a connector away. Beyond what Java writes they hold tombstones for the tasks, so that nothing is left
/// for a later connector of the same name to inherit; Java ignores them.
#[must_use]
pub fn deletion(connector: &ConnectorView<'_>) -> Vec<Event> {
    let name = connector.name;
    let mut events =
        vec![Event::Connector { name: name.clone(), props: None }, Event::Target { name: name.clone(), state: None }];
    let tasks = (0..connector.tasks().len() as u32).map(|task| TaskId { connector: name.clone(), task });
    events.extend(tasks.map(|id| Event::Task { id, props: None }));
    events.push(Event::Commit { name: name.clone(), tasks: None });
    events
}

/// The records that give a connector these tasks; they must go in together, the last one last.
#[must_use]
pub fn task_set(name: &Arc<str>, tasks: &[Arc<Props>]) -> Vec<Event> {
    let ids = (0..).map(|task| TaskId { connector: name.clone(), task });
    let written = ids.zip(tasks).map(|(id, props)| Event::Task { id, props: Some(props.clone()) });
    written.chain([Event::Commit { name: name.clone(), tasks: Some(tasks.len() as u32) }]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    use super::*;

    fn fold(events: &[(i64, Event)]) -> ConfigState {
        let mut state = ConfigState::default();
        for (offset, event) in events {
            state.apply(*offset, event.clone());
        }
        state
    }

    fn numbered(events: impl IntoIterator<Item = Event>) -> Vec<(i64, Event)> {
        (0..).zip(events).collect()
    }

    fn connector(name: &str, version: u8) -> Event {
        Event::Connector { name: name.into(), props: Some(props(version)) }
    }

    fn props(version: u8) -> Arc<Props> {
        Arc::new(Props::from([("version".to_owned(), version.to_string())]))
    }

    fn tasks_of(name: &str, version: u8, count: u32) -> Vec<Event> {
        task_set(&name.into(), &(0..count).map(|_| props(version)).collect::<Vec<_>>())
    }

    #[test]
    fn tasks_wait_for_their_commit() {
        let mut events = vec![connector("a", 1)];
        events.extend(tasks_of("a", 1, 2));
        let all = numbered(events);
        let before = fold(&all[..3]);
        assert!(before.connector("a").unwrap().tasks().is_empty());
        let after = fold(&all);
        assert_eq!(after.connector("a").unwrap().tasks().len(), 2);
        assert_eq!(after.connector("a").unwrap().runnable_since(), Some(3));
        assert!(!after.connector("a").unwrap().tasks_differ(&[props(1), props(1)]));
        assert_eq!(after.next_offset(), 4);
    }

    #[test]
    fn producers_of_a_deleted_connector_are_fenced_before_those_of_its_namesake() {
        let mut events = vec![connector("a", 1)];
        events.extend(tasks_of("a", 1, 3));
        events.push(Event::Fencing { name: "a".into(), tasks: Some(3) });
        let state = fold(&numbered(events.clone()));
        assert_eq!(state.connector("a").unwrap().pending_fencing(), None);
        events.extend(deletion(&state.connector("a").unwrap()));
        events.push(connector("a", 2));
        events.extend(tasks_of("a", 2, 1));
        assert_eq!(fold(&numbered(events)).connector("a").unwrap().pending_fencing(), Some(3));
    }

    #[test]
    fn a_new_configuration_with_the_same_tasks_is_a_difference() {
        // As KAFKA-9228: a changed converter must reach the tasks though their own properties stay the same.
        let mut events = vec![connector("a", 1)];
        events.extend(tasks_of("a", 9, 1));
        events.push(connector("a", 2));
        let state = fold(&numbered(events));
        assert!(state.connector("a").unwrap().tasks_differ(&[props(9)]));
        assert_eq!(state.connector("a").unwrap().runnable_since(), Some(2), "until then the old ones run");
    }

    #[test]
    fn the_class_of_tasks_is_javas_as_long_as_the_connector_is_the_same() {
        let props = |pairs: &[(&str, &str)]| Arc::new(pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Props>());
        let connector = |class: &str| Event::Connector { name: "a".into(), props: Some(props(&[("connector.class", class)])) };
        let mut events = vec![connector("x.Sink")];
        events.extend(task_set(&"a".into(), &[props(&[("task.class", "x.Sink$Task")])]));
        let planned = || vec![props(&[("task.class", "x.SinkTask")])];
        let check = |events: Vec<Event>, expected: &str| {
            let state = fold(&numbered(events));
            let tasks = state.connector("a").unwrap().with_task_class(planned());
            assert_eq!(tasks[0]["task.class"], expected);
        };
        check(events.clone(), "x.Sink$Task");
        events.push(connector("y.Sink"));
        check(events, "x.SinkTask");
        check(vec![connector("x.Sink")], "x.SinkTask");
    }

    #[test]
    fn an_incomplete_set_is_inconsistent_until_written_again() {
        let mut events = vec![connector("a", 1)];
        events.extend(tasks_of("a", 1, 2));
        events.remove(1);
        let state = fold(&numbered(events.clone()));
        let a = state.connector("a").unwrap();
        assert!(a.is_inconsistent() && a.tasks().is_empty() && a.runnable_since().is_none());
        assert!(a.tasks_differ(&[]));
        events.extend(tasks_of("a", 1, 2));
        assert!(!fold(&numbered(events)).connector("a").unwrap().is_inconsistent());
    }

    #[test]
    fn a_commit_before_its_connector_lists_tasks_but_does_not_run_them() {
        // KAFKA-17719: compaction leaves this order behind when only the connector's record was written again.
        let mut events = tasks_of("a", 1, 1);
        events.push(connector("a", 2));
        let state = fold(&numbered(events));
        let a = state.connector("a").unwrap();
        assert_eq!(a.tasks().len(), 1);
        assert_eq!(a.runnable_since(), None);
        assert!(a.tasks_differ(&[props(1)]));
    }

    #[test]
    fn a_deleted_connector_leaves_nothing_behind() {
        let mut events = vec![connector("a", 1)];
        events.extend(tasks_of("a", 1, 2));
        let state = fold(&numbered(events.clone()));
        events.extend(deletion(&state.connector("a").unwrap()));
        assert!(fold(&numbered(events.clone())).connector("a").is_none());
        events.push(connector("a", 2));
        let state = fold(&numbered(events));
        let a = state.connector("a").unwrap();
        assert!(a.tasks().is_empty() && a.target() == TargetState::Started);
    }

    #[test]
    fn javas_topic_reads_as_java_read_it() {
        let lines = include_str!("recorded/config.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut state = ConfigState::default();
        for line in lines {
            let mut columns = line.splitn(3, '\t');
            let mut next = || columns.next().unwrap();
            let (offset, key, value) = (next().parse().unwrap(), next(), next());
            let value = Some(value.as_bytes()).filter(|v| *v != b"NULL");
            state.apply(offset, Event::parse(key, value).unwrap());
        }
        let seen: Vec<_> = state.connectors().map(|c| (&**c.name, c.target(), c.tasks().len())).collect();
        let expected = [("bad", TargetState::Started, 1), ("late", TargetState::Stopped, 0), ("src", TargetState::Stopped, 0)];
        assert_eq!(seen, expected);
        assert!(state.session_key().is_some());
    }

    /// A step in the life of a cluster.
    #[derive(Clone, Debug)]
    enum Step {
        Put(u8),
        Tasks(u32),
        /// The worker dies while it writes tasks: so many of three records get in.
        CutShort(usize),
        Target(TargetState),
        Delete,
    }

    fn step() -> impl Strategy<Value = (&'static str, Step)> {
        let target = prop_oneof![Just(TargetState::Started), Just(TargetState::Paused), Just(TargetState::Stopped)];
        let step = prop_oneof![
            3 => (0..3u8).prop_map(Step::Put),
            3 => (0..3u32).prop_map(Step::Tasks),
            1 => (0..3usize).prop_map(Step::CutShort),
            2 => target.prop_map(Step::Target),
            1 => Just(Step::Delete),
        ];
        (prop_oneof![Just("a"), Just("b-1")], step)
    }

    /// The log of a cluster that took these steps, and the state it had in the end. `ours`: deletions leave the tombstones
    /// that Java does not write.
    fn history(steps: &[(&'static str, Step)], ours: bool) -> Vec<(i64, Event)> {
        let mut log = Vec::new();
        let mut state = ConfigState::default();
        for (n, (name, step)) in steps.iter().enumerate() {
            let exists = state.connector(name).is_some();
            let generation = 100 + n as u8;
            let events = match step {
                Step::Put(version) => vec![connector(name, *version)],
                _ if !exists => Vec::new(),
                Step::Tasks(count) => tasks_of(name, generation, *count),
                Step::CutShort(written) => tasks_of(name, generation, 2).into_iter().take(*written).collect(),
                Step::Target(target) => vec![Event::Target { name: (*name).into(), state: Some(*target) }],
                Step::Delete => {
                    let all = deletion(&state.connector(name).unwrap());
                    if ours { all } else { all.into_iter().take(2).collect() }
                }
            };
            for event in events {
                let offset = log.len() as i64;
                state.apply(offset, event.clone());
                log.push((offset, event));
            }
        }
        log
    }

    /// What the broker may leave of a log: up to some point only the newest record of each key, of tombstones perhaps none.
    fn compacted(log: &[(i64, Event)], upto: usize, drop_tombstones: bool) -> Vec<(i64, Event)> {
        let upto = upto.min(log.len());
        let kept = |at: usize| {
            let record = log[at].1.record();
            let superseded = log[at + 1..upto].iter().any(|(_, later)| later.record().key == record.key);
            !superseded && (record.value.is_some() || !drop_tombstones)
        };
        (0..log.len()).filter(|&at| at >= upto || kept(at)).map(|at| log[at].clone()).collect()
    }

    #[test]
    fn compaction_never_changes_what_runs_except_to_nothing() {
        let seed: u64 = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand_seed);
        println!("rerun with SEED={seed}");
        let rng = proptest::test_runner::TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed_bytes(seed));
        let mut runner = TestRunner::new_with_rng(Config { cases: 3000, failure_persistence: None, ..Config::default() }, rng);
        let strategy = (prop::collection::vec(step(), 0..14), any::<prop::sample::Index>(), any::<bool>(), any::<bool>());
        let checked = runner.run(&strategy, |(steps, upto, drop_tombstones, ours)| {
            let log = history(&steps, ours);
            let full = fold(&log);
            let left = fold(&compacted(&log, upto.index(log.len() + 1), drop_tombstones));
            let names = |state: &ConfigState| state.connectors().map(|c| c.name.clone()).collect::<Vec<_>>();
            prop_assert_eq!(names(&full), names(&left));
            for (was, is) in full.connectors().zip(left.connectors()) {
                prop_assert_eq!(was.props(), is.props());
                prop_assert_eq!(was.written(), is.written());
                prop_assert_eq!(was.target(), is.target());
                if let Some(since) = is.runnable_since() {
                    prop_assert_eq!(Some(since), was.runnable_since());
                    prop_assert_eq!(was.tasks(), is.tasks());
                } else if was.runnable_since().is_some() {
                    prop_assert!(is.tasks_differ(was.tasks()), "nothing would bring the tasks back");
                }
            }
            Ok(())
        });
        checked.unwrap_or_else(|failure| panic!("SEED={seed}: {failure}"));
    }

    fn rand_seed() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64)
    }

    fn seed_bytes(seed: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes
    }
}
