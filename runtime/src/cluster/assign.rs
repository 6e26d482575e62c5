//! Who runs what: sticky, balanced, and never two at once. Pure: no clock, no client, no lock.
//!
//! How a unit moves: the leader writes an assignment in which it is in another worker's share, and among the `leftovers` of the
//! worker that had it. That one stops it, and says in its note that it has acted on this assignment and what it is still
//! releasing. Only when the unit is not among that does the new owner start it. Whoever has left the group holds nothing: it
//! is dead, or stops by itself, and is fenced in the data plane meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::assignment::{Assignment, Note, Share, WorkerId};
use crate::store::status::Unit;

/// How a worker is in the group. One that is not in the group any more has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It takes what it is given.
    Working { member: String },
    /// It has just started (again) and is not ready: it keeps what it had and gets nothing new.
    Arriving,
    /// It gives up everything, and is still running some of it.
    Leaving,
    /// It is gone, and what it had waits for its return (`scheduled.rebalance.max.delay.ms`).
    Absent,
}

/// All that an assignment depends on.
pub struct Situation<'s> {
    /// What is to run.
    pub units: &'s BTreeSet<Unit>,
    pub workers: &'s BTreeMap<WorkerId, Presence>,
    pub notes: &'s BTreeMap<WorkerId, Note>,
}

/// The assignment that follows `last`; `None` when that one will do.
///
/// Connectors and tasks are balanced each for themselves: the numbers of any two working workers differ by one at most. No unit
/// moves that need not, and the tasks of one connector are spread where there is a choice.
#[must_use]
pub fn assign(last: &Assignment, now: &Situation<'_>) -> Option<Assignment> {
    let kept = kept(last, now);
    let (connectors, tasks): (BTreeSet<_>, BTreeSet<_>) =
        now.units.iter().cloned().partition(|unit| matches!(unit, Unit::Connector(_)));
    let mut owners = balance(&connectors, &kept, now.workers);
    owners.extend(balance(&tasks, &kept, now.workers));
    let version = last.version + 1;
    let shares = shares(last, now, &owners);
    let leftovers = leftovers(last, now, &owners, version);
    let holds_the_gone = last.leftovers.values().flat_map(BTreeMap::keys).any(|worker| !may_run(now.workers.get(worker)));
    (shares != last.shares || holds_the_gone).then_some(Assignment { version, shares, leftovers })
}

/// Whether a unit that is no longer a worker's own has ended there: the worker has acted on the version that took it away.
#[must_use]
pub fn has_released(unit: &Unit, since: i64, note: Option<&Note>) -> bool {
    note.is_some_and(|note| note.version >= since && !note.releasing.contains(unit))
}

/// Owners that may stay what they are.
fn kept<'a>(last: &'a Assignment, now: &Situation<'_>) -> BTreeMap<&'a Unit, &'a WorkerId> {
    let stays = |worker: &WorkerId| !matches!(now.workers.get(worker), None | Some(Presence::Leaving));
    let shares = last.shares.iter().filter(|(worker, _)| stays(worker));
    shares.flat_map(|(worker, share)| share.units.iter().map(move |unit| (unit, worker))).collect()
}

/// Owners of all units, as far as there is somebody to own them.
fn balance(
    units: &BTreeSet<Unit>,
    kept: &BTreeMap<&Unit, &WorkerId>,
    workers: &BTreeMap<WorkerId, Presence>,
) -> BTreeMap<Unit, WorkerId> {
    let working = workers.iter().filter(|(_, presence)| matches!(presence, Presence::Working { .. }));
    let mut loads: BTreeMap<WorkerId, Load> = working.map(|(worker, _)| (worker.clone(), Load::default())).collect();
    let (mut owners, mut homeless) = (BTreeMap::new(), BTreeSet::new());
    for unit in units {
        match kept.get(unit) {
            None => drop(homeless.insert(unit.clone())),
            Some(owner) => match loads.get_mut(*owner) {
                Some(load) => load.add(unit.clone()),
                // Not to be had, and not to be added to.
                None => drop(owners.insert(unit.clone(), (*owner).clone())),
            },
        }
    }
    if loads.is_empty() {
        return owners;
    }
    set_quotas(&mut loads, units.len() - owners.len());
    for load in loads.values_mut() {
        while load.units > load.quota {
            homeless.insert(load.give_up());
        }
    }
    for unit in homeless {
        let with_room = loads.values_mut().filter(|load| load.units < load.quota);
        let best = with_room.min_by_key(|load| (load.of(connector(&unit)), load.units));
        best.expect("the quotas add up to all units").add(unit);
    }
    let owned = |(worker, load): (WorkerId, Load)| load.into_units().map(move |unit| (unit, worker.clone()));
    owners.extend(loads.into_iter().flat_map(owned));
    owners
}

/// Shares out the count, one more for those that have most: so the fewest move.
fn set_quotas(loads: &mut BTreeMap<WorkerId, Load>, count: usize) {
    let (each, mut one_more) = (count / loads.len(), count % loads.len());
    let mut by_load: Vec<&mut Load> = loads.values_mut().collect();
    by_load.sort_by_key(|load| std::cmp::Reverse(load.units));
    for load in by_load {
        load.quota = each + usize::from(one_more > 0);
        one_more = one_more.saturating_sub(1);
    }
}

/// What one worker has while shares are worked out.
#[derive(Default)]
struct Load {
    by_connector: BTreeMap<String, BTreeSet<Unit>>,
    units: usize,
    quota: usize,
}

impl Load {
    fn add(&mut self, unit: Unit) {
        self.by_connector.entry(connector(&unit).to_owned()).or_default().insert(unit);
        self.units += 1;
    }

    /// The last unit of the connector that has most here.
    fn give_up(&mut self) -> Unit {
        let crowded = self.by_connector.values_mut().max_by_key(|units| units.len());
        let unit = crowded.and_then(BTreeSet::pop_last).expect("it has more than its quota, so it has some");
        self.units -= 1;
        unit
    }

    fn of(&self, connector: &str) -> usize {
        self.by_connector.get(connector).map_or(0, BTreeSet::len)
    }

    fn into_units(self) -> impl Iterator<Item = Unit> {
        self.by_connector.into_values().flatten()
    }
}

fn connector(unit: &Unit) -> &str {
    match unit {
        Unit::Connector(name) => name,
        Unit::Task(id) => &id.connector,
    }
}

/// By worker; those that work or are waited for have one even if it is empty.
fn shares(last: &Assignment, now: &Situation<'_>, owners: &BTreeMap<Unit, WorkerId>) -> BTreeMap<WorkerId, Share> {
    let share = |(worker, presence): (&WorkerId, &Presence)| {
        let before = last.shares.get(worker).map(|share| share.member.clone());
        let member = match presence {
            Presence::Working { member } => member.clone(),
            Presence::Arriving | Presence::Absent => before?,
            Presence::Leaving => return None,
        };
        Some((worker.clone(), Share { member, units: BTreeSet::new() }))
    };
    let mut shares: BTreeMap<WorkerId, Share> = now.workers.iter().filter_map(share).collect();
    for (unit, owner) in owners {
        if let Some(share) = shares.get_mut(owner) {
            share.units.insert(unit.clone());
        }
    }
    shares
}

/// What may still run where it no longer belongs.
fn leftovers(
    last: &Assignment,
    now: &Situation<'_>,
    owners: &BTreeMap<Unit, WorkerId>,
    version: i64,
) -> BTreeMap<Unit, BTreeMap<WorkerId, i64>> {
    let mut leftovers = last.leftovers.clone();
    for (worker, share) in &last.shares {
        for unit in share.units.iter().filter(|unit| owners.get(*unit) != Some(worker)) {
            leftovers.entry(unit.clone()).or_default().insert(worker.clone(), version);
        }
    }
    leftovers.retain(|unit, workers| {
        workers.retain(|worker, since| {
            let is_owner = owners.get(unit) == Some(worker);
            may_run(now.workers.get(worker)) && !is_owner && !has_released(unit, *since, now.notes.get(worker))
        });
        !workers.is_empty()
    });
    leftovers
}

/// Whether a worker may run anything at all.
fn may_run(presence: Option<&Presence>) -> bool {
    !matches!(presence, None | Some(Presence::Absent))
}

#[cfg(test)]
mod tests;
