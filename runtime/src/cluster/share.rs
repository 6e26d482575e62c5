//! What this worker may run, by the assignment and by what the others say of themselves. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::assign::has_released;
use crate::store::assignment::{Assignment, Entry, Leader, Note, WorkerId};
use crate::store::status::Unit;

/// The assignment topic as this worker has read it.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Offset behind the newest record read.
    pub next_offset: i64,
    pub leader: Option<Leader>,
    pub assignment: Arc<Assignment>,
    pub notes: BTreeMap<WorkerId, Note>,
}

impl Placement {
    /// Takes in a record of the topic.
    pub fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Leader(leader) => self.leader = Some(leader),
            Entry::Assignment(assignment) => self.assignment = Arc::new(assignment),
            Entry::Note(worker, Some(note)) => drop(self.notes.insert(worker, note)),
            Entry::Note(worker, None) => drop(self.notes.remove(&worker)),
        }
    }

    /// Whether the worker `me`, as `member` of the group, may run the unit now: it is in its share, and has ended wherever it
    /// ran before.
    #[must_use]
    pub fn may_run(&self, me: &str, member: &str, unit: &Unit) -> bool {
        self.owns(me, member, unit) && self.assignment.leftovers.get(unit).is_none_or(|workers| self.is_free(unit, workers, me))
    }

    /// What `me` has to say, given what it runs.
    #[must_use]
    pub fn note<'u>(
        &self,
        me: &str,
        member: &str,
        url: &str,
        leaving: bool,
        running: impl IntoIterator<Item = &'u Unit>,
    ) -> Note {
        let releasing: BTreeSet<Unit> = running.into_iter().filter(|unit| !self.owns(me, member, unit)).cloned().collect();
        Note { url: url.to_owned(), member: member.to_owned(), version: self.assignment.version, releasing, leaving }
    }

    /// Whether a note says anything that somebody waits for: the mere fact that a newer assignment was acted on is of no interest
    /// while that takes nothing away from `me`.
    #[must_use]
    pub fn is_news(&self, me: &str, said: &Note, note: &Note) -> bool {
        let same_but_for_version = *said == Note { version: said.version, ..note.clone() };
        let is_waited_for = self.assignment.leftovers.values().any(|workers| workers.contains_key(me));
        !same_but_for_version || (said.version != note.version && is_waited_for)
    }

    /// Where the worker that is to run the unit is reached.
    #[must_use]
    pub fn owner_url(&self, unit: &Unit) -> Option<&str> {
        Some(&self.notes.get(self.assignment.owner(unit)?)?.url)
    }

    /// Whether others are there to take over what `me` runs: workers that have a share, or have said that they are there, as one
    /// does that has just started and waits for its share; and that are not leaving themselves.
    #[must_use]
    pub fn has_others(&self, me: &str) -> bool {
        let mut others = self.assignment.shares.keys().chain(self.notes.keys()).filter(|worker| ***worker != *me);
        others.any(|worker| self.notes.get(worker).is_none_or(|note| !note.leaving))
    }

    fn owns(&self, me: &str, member: &str, unit: &Unit) -> bool {
        let share = self.assignment.shares.get(me).filter(|share| share.member == member);
        share.is_some_and(|share| share.units.contains(unit))
    }

    fn is_free(&self, unit: &Unit, workers: &BTreeMap<WorkerId, i64>, me: &str) -> bool {
        workers.iter().all(|(worker, since)| &**worker == me || has_released(unit, *since, self.notes.get(worker)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::assignment::Share;

    fn placement(shares: &[&str], notes: &[(&str, bool)]) -> Placement {
        let shares = shares.iter().map(|worker| ((*worker).into(), Share::default())).collect();
        let note = |leaving| Note { leaving, ..Note::default() };
        Placement {
            assignment: Arc::new(Assignment { shares, ..Assignment::default() }),
            notes: notes.iter().map(|(worker, leaving)| ((*worker).into(), note(*leaving))).collect(),
            ..Placement::default()
        }
    }

    #[test]
    fn others_are_those_who_stay() {
        assert!(!placement(&["me"], &[("me", true)]).has_others("me"));
        assert!(placement(&["me", "you"], &[]).has_others("me"));
        assert!(placement(&["me", "you"], &[("you", false)]).has_others("me"));
        assert!(!placement(&["me", "you"], &[("you", true)]).has_others("me"), "all leave at once");
        assert!(placement(&["me"], &[("you", false)]).has_others("me"), "one that has just started has no share yet");
    }
}
