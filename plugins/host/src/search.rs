//! Which records of a batch stop a guest: what to try next, from what the calls so far have led to. Decides only; it calls nobody.
//!
//! A call that was stopped costs up to its deadline, one that returns next to nothing. So the rows are not halved again and again: those of a
//! batch that was stopped are tried in parts of about the square root of their number, and of a part that was stopped each row alone. That
//! is three stopped calls for one bad row in a batch of any size.
//!
//! **A row that stops the guest alone is to blame** if the guest trapped. If it was late, it had only its share of the deadline, and
//! is under suspicion until the others are through. Then it is to blame if it alone has used half of the deadline in the call
//! with all rows: what was the guest's own of that, less what the others took. If it has not, or if others are under suspicion too, it
//! gets the whole deadline for itself, and once more should the machine have left it less than half of that. So no row is blamed for what the
//! machine had to do besides.
//!
//! A batch may take [`SEARCH_MAX`] deadlines until rows are no longer tried, and [`ALL_MAX`] until suspicion is enough.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// How many deadlines stopped calls may take until rows that were not reached are given up.
const SEARCH_MAX: u32 = 4;
/// How many until rows under suspicion have no more calls of their own.
pub(crate) const ALL_MAX: u32 = 6;
/// A part gets its share of the deadline, but at least this part of it.
const SHARE_MIN: u32 = 20;
/// And at least so long: a clock that ticks every 10 ms cannot tell less.
const ALLOWED_MIN: Duration = Duration::from_millis(20);
/// A row is to blame that has used this part of the deadline of the whole batch.
const BLAME: u32 = 2;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Let the guest work on these rows, for so long at most; then say what came of it.
    Try { rows: Range<usize>, allowed: Duration },
    /// These rows fail.
    Fail { rows: Range<usize>, why: String },
}

/// A call that did not return.
pub(crate) struct Stop {
    pub why: String,
    /// For lack of time; what of it was the guest's own.
    pub late: Option<Duration>,
    pub took: Duration,
}

/// The search in one batch. Rows are counted from 0, and each is returned or failed exactly once.
pub(crate) struct Search {
    rows: usize,
    deadline: Duration,
    /// Nobody asks for the rows behind the first one that fails.
    fails_fast: bool,
    /// Still to be tried, the next one last.
    parts: Vec<Range<usize>>,
    suspects: VecDeque<Suspect>,
    /// Found, and not yet told.
    found: VecDeque<Step>,
    trying: Range<usize>,
    allowed: Duration,
    /// The row has had the whole deadline for itself before.
    is_again: bool,
    /// The call with all rows was late. `None` as well when that does not tell any more which of them did it.
    late: Option<Late>,
    returned: Returned,
    /// Calls since one returned that were late with their share.
    late_in_a_row: u32,
    /// What stopped calls have cost, each at most what it was allowed, so that a machine that is short of time does not count twice.
    spent: Duration,
}

/// A row that was late alone, with less than the whole deadline for itself.
struct Suspect {
    row: usize,
    why: String,
    /// It has had the whole deadline for itself, on a busy machine.
    had_all: bool,
}

struct Late {
    own: Duration,
    why: String,
}

/// What calls that returned have taken, and rows that made the guest trap.
#[derive(Default)]
struct Returned {
    rows: usize,
    all: Duration,
    longest: Duration,
}

impl Search {
    /// Begins with all rows in one call, which has the whole deadline.
    pub(crate) fn new(rows: usize, deadline: Duration, fails_fast: bool) -> Self {
        Self {
            rows,
            deadline,
            fails_fast,
            parts: (rows > 0).then_some(0..rows).into_iter().collect(),
            suspects: VecDeque::new(),
            found: VecDeque::new(),
            trying: 0..0,
            allowed: Duration::ZERO,
            is_again: false,
            late: None,
            returned: Returned::default(),
            late_in_a_row: 0,
            spent: Duration::ZERO,
        }
    }

    /// What to do now; `None` when all rows are through. Behind a [`Step::Try`], [`returned`](Self::returned) or
    /// [`stopped`](Self::stopped) is to be called.
    pub(crate) fn next(&mut self) -> Option<Step> {
        if let Some(found) = self.found.pop_front() {
            return Some(found);
        }
        if let Some(part) = self.parts.pop() {
            if part.len() == self.rows {
                return Some(self.attempt(part, self.deadline));
            }
            if self.spent > self.deadline * SEARCH_MAX {
                self.late = None;
                return Some(not_tried(part, "the plugin was stopped on others for too long"));
            }
            let allowed = self.share(part.len());
            return Some(self.attempt(part, allowed));
        }
        let Suspect { row, why, had_all } = self.suspects.pop_front()?;
        if let Some(late) = self
            .late
            .take_if(|late| self.suspects.is_empty() && late.own.saturating_sub(self.returned.all) >= self.deadline / BLAME)
        {
            return Some(Step::Fail { rows: row..row + 1, why: late.why });
        }
        if self.spent > self.deadline * ALL_MAX {
            return Some(Step::Fail { rows: row..row + 1, why });
        }
        self.is_again = had_all;
        Some(self.attempt(row..row + 1, self.deadline))
    }

    fn attempt(&mut self, rows: Range<usize>, allowed: Duration) -> Step {
        (self.trying, self.allowed) = (rows.clone(), allowed);
        Step::Try { rows, allowed }
    }

    /// The share of so many rows. More, when rows have taken more, as do the first of a fresh instance; and when nothing has returned lately.
    fn share(&self, rows: usize) -> Duration {
        let share = self.deadline.mul_f64(rows as f64 / self.rows as f64);
        let least = (self.deadline / SHARE_MIN).max(ALLOWED_MIN).saturating_mul(2u32.saturating_pow(self.late_in_a_row));
        let as_others = self.returned.all.mul_f64(rows as f64 / self.returned.rows.max(1) as f64);
        share.max(least).max(2 * self.returned.longest).max(2 * as_others).min(self.deadline)
    }

    /// The call returned, after so long.
    pub(crate) fn returned(&mut self, took: Duration) {
        self.late_in_a_row = 0;
        self.returned.rows += self.trying.len();
        self.returned.all += took;
        self.returned.longest = self.returned.longest.max(took);
    }

    /// The call did not return, and its instance is gone.
    pub(crate) fn stopped(&mut self, stop: Stop) {
        let Stop { why, late, took } = stop;
        self.spent += took.min(self.allowed);
        let Range { start, end } = self.trying.clone();
        let is_whole = self.trying.len() == self.rows;
        if late.is_some() && !is_whole {
            self.late_in_a_row += 1;
        }
        if end - start > 1 {
            let size = if is_whole { self.rows.isqrt() } else { 1 };
            let parts = (start..end).step_by(size).map(|from| from..end.min(from + size));
            self.parts.extend(parts.rev());
            self.late = late.filter(|_| is_whole).map(|own| Late { own, why }).or(self.late.take());
        } else if late.is_some_and(|own| self.is_in_doubt(own)) {
            self.suspects.push_back(Suspect { row: start, why, had_all: self.allowed == self.deadline });
        } else {
            self.returned.all += took;
            if late.is_some() {
                self.late = None;
            }
            self.blame(start, why);
        }
    }

    /// Whether a row that was late alone is to be tried again.
    fn is_in_doubt(&self, own: Duration) -> bool {
        self.allowed < self.deadline || (own < self.deadline / BLAME && !self.is_again)
    }

    fn blame(&mut self, row: usize, why: String) {
        self.found.push_back(Step::Fail { rows: row..row + 1, why });
        if !self.fails_fast {
            return;
        }
        // Suspects before it remain: it is the first row that fails that users are told of.
        self.late = None;
        let (before, behind): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.suspects).into_iter().partition(|suspect| suspect.row < row);
        self.suspects = before;
        let parts = std::mem::take(&mut self.parts).into_iter().rev();
        let behind = parts.chain(behind.into_iter().map(|suspect| suspect.row..suspect.row + 1));
        self.found.extend(behind.map(|rows| not_tried(rows, "one before it ends the task")));
    }
}

fn not_tried(rows: Range<usize>, why: &str) -> Step {
    Step::Fail { rows, why: format!("this record was not tried: {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Row::{Loops, Takes, Traps};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const DEADLINE: Duration = Duration::from_secs(1);
    const SHARE: Duration = Duration::from_millis(50);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Row {
        /// Milliseconds.
        Takes(u32),
        Traps,
        Loops,
    }

    /// A guest that does as told, and what became of it.
    struct Script {
        rows: Vec<Row>,
        fails_fast: bool,
        /// What the first call of each instance takes longer.
        warm_up: Duration,
        /// How many times longer everything takes in a call, by its number.
        load: fn(usize) -> u32,
    }

    #[derive(Debug)]
    struct Outcome {
        /// For each row why it failed, if it did.
        failed: Vec<Option<String>>,
        calls: usize,
        /// What calls that did not return have taken.
        stopped: Vec<Duration>,
    }

    fn good(rows: usize) -> Script {
        Script { rows: vec![Takes(0); rows], fails_fast: false, warm_up: Duration::ZERO, load: |_| 1 }
    }

    impl Script {
        fn with(mut self, bad: &[(usize, Row)]) -> Self {
            bad.iter().for_each(|(at, row)| self.rows[*at] = *row);
            self
        }

        /// What a call takes; what stopped it, if it did not return.
        fn call(&self, rows: Range<usize>, allowed: Duration, fresh: bool, load: u32) -> (Duration, Option<Stop>) {
            let mut own = if fresh { self.warm_up } else { Duration::ZERO };
            for row in rows {
                match self.rows[row] {
                    Takes(ms) => own += Duration::from_millis(ms.into()),
                    Loops => own += 1000 * DEADLINE,
                    Traps if own * load < allowed => {
                        let stop = Stop { why: format!("trapped on {row}"), late: None, took: own * load };
                        return (own * load, Some(stop));
                    }
                    Traps => {}
                }
            }
            if own * load < allowed {
                return (own * load, None);
            }
            let why = format!("late after {allowed:?}");
            (allowed, Some(Stop { why, late: Some(allowed / load), took: allowed }))
        }

        fn run(&self) -> Outcome {
            let mut search = Search::new(self.rows.len(), DEADLINE, self.fails_fast);
            let mut settled: Vec<Option<Option<String>>> = vec![None; self.rows.len()];
            let mut settle = |rows: Range<usize>, how: Option<String>| {
                for row in rows {
                    assert!(settled[row].replace(how.clone()).is_none(), "row {row} is settled twice");
                }
            };
            let (mut calls, mut stopped, mut fresh) = (0, Vec::new(), true);
            while let Some(step) = search.next() {
                match step {
                    Step::Fail { rows, why } => settle(rows, Some(why)),
                    Step::Try { rows, allowed } => {
                        let (took, stop) = self.call(rows.clone(), allowed, fresh, (self.load)(calls));
                        calls += 1;
                        fresh = stop.is_some();
                        match stop {
                            Some(stop) => {
                                stopped.push(took);
                                search.stopped(stop);
                            }
                            None => {
                                search.returned(took);
                                settle(rows, None);
                            }
                        }
                    }
                }
            }
            let failed = settled.into_iter().enumerate().map(|(row, how)| how.unwrap_or_else(|| panic!("row {row} is left")));
            Outcome { failed: failed.collect(), calls, stopped }
        }
    }

    impl Outcome {
        fn failed(&self) -> Vec<usize> {
            (0..self.failed.len()).filter(|row| self.failed[*row].is_some()).collect()
        }
    }

    #[test]
    fn one_bad_row_costs_three_stopped_calls_and_a_loop_hardly_more_than_the_deadline() {
        for at in [0, 17, 250, 499] {
            let outcome = good(500).with(&[(at, Loops)]).run();
            assert_eq!(outcome.failed(), [at]);
            // Told as what it was in the call with all rows, for only that had the whole deadline.
            assert_eq!(outcome.failed[at].as_deref(), Some("late after 1s"));
            let second = if at % 22 == 0 { 2 * SHARE } else { SHARE };
            assert_eq!(outcome.stopped, [DEADLINE, SHARE, second], "row {at}");

            let outcome = good(500).with(&[(at, Traps)]).run();
            assert_eq!((outcome.failed(), outcome.stopped.len()), (vec![at], 3));
            assert!(outcome.calls < 50, "{}", outcome.calls);
        }
        let outcome = good(1).with(&[(0, Loops)]).run();
        assert_eq!((outcome.failed(), outcome.stopped), (vec![0], vec![DEADLINE]));
        assert_eq!(good(500).run().calls, 1);
    }

    #[test]
    fn where_the_first_failure_ends_the_task_the_rest_is_not_tried() {
        let mut all_trap = Script { rows: vec![Traps; 500], ..good(0) };
        assert_eq!(all_trap.run().stopped.len(), 1 + 23 + 500);
        all_trap.fails_fast = true;
        let outcome = all_trap.run();
        assert_eq!(outcome.stopped.len(), 3);
        assert_eq!(outcome.failed[0].as_deref(), Some("trapped on 0"));
        assert!(outcome.failed[1..].iter().flatten().all(|why| why.contains("not tried")), "{outcome:?}");
        assert_eq!(outcome.failed().len(), 500);

        // The one that is told of is the first that fails, and so it is found out about before the task ends.
        let script = Script { fails_fast: true, ..good(500) }.with(&[(100, Loops), (300, Traps)]);
        let outcome = script.run();
        assert_eq!(outcome.failed[..300].iter().flatten().collect::<Vec<_>>(), ["late after 1s"]);
        assert_eq!(outcome.failed[300].as_deref(), Some("trapped on 300"));
    }

    #[test]
    fn no_row_is_blamed_for_what_the_machine_does_besides() {
        let slow = |ms, load| Script { load, ..good(500) }.with(&[(250, Takes(ms))]);
        // Others had two thirds of the processor, in the first call or all the time.
        assert_eq!(slow(400, |call| if call == 0 { 3 } else { 1 }).run().failed(), [0; 0]);
        assert_eq!(slow(300, |_| 3).run().failed(), [0; 0]);
        // So busy that one call is in vain, or all are.
        let busy = slow(300, |call| if call < 47 { 4 } else { 1 }).run();
        assert_eq!((busy.failed(), busy.stopped.iter().filter(|took| **took == DEADLINE).count()), (vec![], 2));
        assert_eq!(slow(300, |_| 4).run().stopped.iter().filter(|took| **took == DEADLINE).count(), 3);
        // Two rows together need more than the deadline, each less.
        let both = good(500).with(&[(20, Takes(600)), (400, Takes(600))]).run();
        assert_eq!(both.failed(), [0; 0]);
        // It has used half of the deadline of all rows alone.
        assert_eq!(slow(1200, |_| 1).run().failed(), [250]);
    }

    #[test]
    fn slow_guests_are_no_bad_ones() {
        // All rows together need more than the deadline; or each instance needs long for its first call.
        let plodding = Script { rows: vec![Takes(3); 500], ..good(0) };
        assert_eq!(plodding.run().failed(), [0; 0]);
        let warming_up = Script { warm_up: Duration::from_millis(300), ..good(500) };
        assert_eq!(warming_up.with(&[(17, Traps), (300, Traps)]).run().failed(), [17, 300]);
    }

    #[test]
    fn several_bad_rows_are_told_apart() {
        let bad = [(3, Traps), (100, Loops), (101, Traps), (333, Loops), (499, Traps)];
        let outcome = good(500).with(&bad).run();
        assert_eq!(outcome.failed(), bad.map(|(at, _)| at));
        assert_eq!(outcome.failed[333].as_deref(), Some("late after 1s"));
    }

    #[test]
    fn endless_trouble_is_bounded() {
        let all_loop = Script { rows: vec![Loops; 500], ..good(0) };
        let outcome = all_loop.run();
        assert_eq!(outcome.failed().len(), 500);
        assert!(outcome.stopped.iter().sum::<Duration>() <= DEADLINE * (ALL_MAX + 1), "{:?}", outcome.stopped);
        assert!(outcome.failed[499].as_ref().is_some_and(|why| why.contains("not tried")), "{:?}", outcome.failed[499]);
    }

    /// Whatever happens, each row is settled once (as `run` checks), and only bad rows fail as long as there is time.
    #[test]
    fn any_mixture_is_sorted() {
        for seed in 0..2000 {
            let mut random = StdRng::seed_from_u64(seed);
            let rows = random.random_range(1..800);
            let mut script = Script { fails_fast: random.random(), ..good(rows) };
            for _ in 0..random.random_range(0..4) {
                let bad = [Traps, Traps, Loops, Takes(400)][random.random_range(0..4)];
                script = script.with(&[(random.random_range(0..rows), bad)]);
            }
            let outcome = script.run();
            let bad: Vec<usize> = (0..rows).filter(|row| matches!(script.rows[*row], Traps | Loops)).collect();
            let known = if script.fails_fast { 1 } else { bad.len() };
            let failed = outcome.failed();
            assert_eq!(failed[..known.min(failed.len())], bad[..known.min(bad.len())], "seed {seed}: {:?}", script.rows);
            assert!(script.fails_fast || failed == bad, "seed {seed}: {failed:?} instead of {bad:?}");
        }
    }
}
