//! Who is there to work: the group's members, by what they say of themselves, and those that are waited for. Pure: the time is
//! given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::assign::Presence;
use crate::kafka::GroupMember;
use crate::store::assignment::{Assignment, Note, WorkerId};

/// What the leader remembers from one look at the group to the next.
pub struct Attendance {
    /// `scheduled.rebalance.max.delay.ms`: how long the units of a worker that is gone wait for its return.
    pub delay: Duration,
    /// How long a member that says nothing of itself keeps what it had.
    pub patience: Duration,
    /// Since when a worker has been as it is.
    absent: BTreeMap<WorkerId, Instant>,
    arriving: BTreeMap<WorkerId, Instant>,
}

impl Attendance {
    #[must_use]
    pub fn new(delay: Duration, patience: Duration) -> Self {
        Self { delay, patience, absent: BTreeMap::new(), arriving: BTreeMap::new() }
    }

    /// How each worker is, as `assign` wants to know it.
    pub fn take(
        &mut self,
        members: &[GroupMember],
        notes: &BTreeMap<WorkerId, Note>,
        last: &Assignment,
        now: Instant,
    ) -> BTreeMap<WorkerId, Presence> {
        let mut presences = BTreeMap::new();
        let (mut absent, mut arriving) = (BTreeMap::new(), BTreeMap::new());
        // Without a static id it is no worker.
        for member in members.iter().filter(|member| !member.instance_id.is_empty()) {
            let worker: WorkerId = member.instance_id.as_str().into();
            let presence = match notes.get(&worker).filter(|note| note.member == member.member_id) {
                Some(note) if note.leaving && self.delay.is_zero() => Presence::Leaving,
                // What it had waits for its return.
                Some(note) if note.leaving => Presence::Arriving,
                Some(note) => Presence::Working { member: note.member.clone() },
                None => {
                    let since = *arriving.entry(worker.clone()).or_insert(*self.arriving.get(&worker).unwrap_or(&now));
                    if now - since >= self.patience {
                        continue;
                    }
                    Presence::Arriving
                }
            };
            presences.insert(worker, presence);
        }
        for (worker, share) in &last.shares {
            if !share.units.is_empty() && !members.iter().any(|member| *member.instance_id == **worker) {
                let since = *absent.entry(worker.clone()).or_insert(*self.absent.get(worker).unwrap_or(&now));
                if now - since < self.delay {
                    presences.insert(worker.clone(), Presence::Absent);
                }
            }
        }
        (self.absent, self.arriving) = (absent, arriving);
        presences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::assignment::Share;
    use crate::store::status::Unit;

    const SECOND: Duration = Duration::from_secs(1);

    fn member(worker: &str, id: &str) -> GroupMember {
        GroupMember { member_id: id.into(), instance_id: worker.into(), client_id: worker.into() }
    }

    fn note(worker: &str, member: &str, leaving: bool) -> (WorkerId, Note) {
        (worker.into(), Note { member: member.into(), leaving, ..Note::default() })
    }

    fn working(member: &str) -> Option<Presence> {
        Some(Presence::Working { member: member.into() })
    }

    #[test]
    fn members_are_what_their_notes_say_if_these_are_of_the_same_start() {
        let mut attendance = Attendance::new(Duration::ZERO, 5 * SECOND);
        let members = [member("a", "a2"), member("b", "b1"), member("c", "c1"), member("d", "d1"), member("", "x")];
        let notes = [note("a", "a1", false), note("b", "b1", false), note("c", "c1", true)].into();
        let now = Instant::now();
        let mut look = |at: Duration| attendance.take(&members, &notes, &Assignment::default(), now + at);
        let seen = look(Duration::ZERO);
        assert_eq!(seen.len(), 4);
        assert_eq!(
            (seen.get("a").cloned(), seen.get("b").cloned(), seen.get("c").cloned()),
            (Some(Presence::Arriving), working("b1"), Some(Presence::Leaving))
        );
        assert_eq!(look(4 * SECOND).get("d"), Some(&Presence::Arriving));
        assert_eq!(look(5 * SECOND).get("d"), None, "it said nothing for too long");
    }

    #[test]
    fn the_work_of_one_that_is_gone_waits_for_the_delay() {
        let share = Share { member: "a1".into(), units: [Unit::Connector("x".into())].into() };
        let last = Assignment { shares: [("a".into(), share)].into(), ..Assignment::default() };
        let now = Instant::now();
        let check = |delay: u32, looks: &[(u32, bool, Option<Presence>)]| {
            let mut attendance = Attendance::new(delay * SECOND, 5 * SECOND);
            let notes = [note("a", "a1", false)].into();
            for (at, is_there, expected) in looks {
                let members: Vec<_> = is_there.then(|| member("a", "a1")).into_iter().collect();
                let seen = attendance.take(&members, &notes, &last, now + *at * SECOND);
                assert_eq!(seen.get("a"), expected.as_ref(), "delay {delay} at {at}");
            }
        };
        check(0, &[(0, true, working("a1")), (1, false, None)]);
        let absent = || Some(Presence::Absent);
        check(3, &[(0, false, absent()), (2, false, absent()), (3, false, None), (4, false, None)]);
        check(3, &[(0, false, absent()), (2, true, working("a1")), (4, false, absent()), (6, false, absent()), (7, false, None)]);
    }
}
