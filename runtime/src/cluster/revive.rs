//! What to do about a failure: start again after a wait, or give up because it fails again and again. Decided without clock or chance; beside it,
//! what a status says of failures and of tasks that do not get on.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::mpsc;

use super::units::UnitEvent;
use crate::config::RestartPolicy;
use crate::metrics::Stalled;
use crate::store::status::{RestartHealth, RestartState, StalledHealth};

/// The automatic restarts of a connector or task that still count. They are forgotten when a person restarts it, when its
/// configuration changes, and when it moves to another worker.
#[derive(Debug, Default)]
pub(super) struct Revivals {
    restarted: VecDeque<Instant>,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody asked for restarts.
    LeaveFailed,
    /// The how many-th restart within the window, and after which wait.
    Restart { attempt: u32, after: Duration },
    /// As many restarts as are allowed did not help.
    GiveUp { attempts: u32 },
}

/// More are not needed to tell the wait, which has reached its maximum long before.
const REMEMBERED_MAX: usize = 1_000;

impl Revivals {
    /// Decides about a failure at `now`. `chance` from 0 to 1 spreads the waits of units that fail together over a fifth to
    /// either side.
    pub(super) fn failed(&mut self, policy: &RestartPolicy, now: Instant, chance: f64) -> Verdict {
        if policy.is_off() {
            return Verdict::LeaveFailed;
        }
        self.restarted.retain(|at| now.saturating_duration_since(*at) < policy.window);
        let attempts = u32::try_from(self.restarted.len()).unwrap_or(u32::MAX);
        if policy.attempts_max.is_some_and(|max| attempts >= max) {
            return Verdict::GiveUp { attempts };
        }
        let doubled = policy.delay_initial.saturating_mul(2u32.saturating_pow(attempts)).min(policy.delay_max);
        let after = doubled.mul_f64(0.8 + 0.4 * chance);
        if self.restarted.len() == REMEMBERED_MAX {
            self.restarted.pop_front();
        }
        self.restarted.push_back(now + after);
        Verdict::Restart { attempt: attempts + 1, after }
    }
}

impl Verdict {
    /// As the status shows it.
    pub(super) fn health(&self, policy: &RestartPolicy, now: DateTime<Utc>) -> Option<RestartHealth> {
        match *self {
            Verdict::LeaveFailed => None,
            Verdict::Restart { attempt, after } => {
                let next = shown(now + after);
                let of = policy.attempts_max.map(|max| format!(" of {max}")).unwrap_or_default();
                let message = format!("restarts at {next}, attempt {attempt}{of}");
                Some(RestartHealth { state: RestartState::Waiting, attempts: attempt, next: Some(next), message })
            }
            Verdict::GiveUp { attempts } => {
                let message = format!(
                    "crash loop: failed again after {attempts} restarts within {} s (errors.restart.window.ms), and is not restarted \
                     any more; mend what the trace says, then restart it",
                    policy.window.as_secs()
                );
                Some(RestartHealth { state: RestartState::CrashLoop, attempts, next: None, message })
            }
        }
    }
}

/// A task that does not get on, as the status shows it.
pub(super) fn stalled_health(stalled: &Stalled, now: DateTime<Utc>) -> StalledHealth {
    StalledHealth { since: shown(now - stalled.duration), message: stalled.message().to_owned() }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How often tasks are looked at, whatever else is set.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(5);
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// Reminds the herd to look at its tasks, often enough for `after`; never when that is zero. Ends with the herd.
pub(super) fn look_regularly(after: Duration, happenings: mpsc::UnboundedSender<UnitEvent>) {
    if after.is_zero() {
        return;
    }
    let interval = (after / 4).clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX);
    tokio::spawn(async move {
        while happenings.send(UnitEvent::Look).is_ok() {
            tokio::time::sleep(interval).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        attempts_max: Some(4),
        window: Duration::from_secs(600),
        delay_initial: Duration::from_secs(1),
        delay_max: Duration::from_secs(5),
    };

    fn restart(attempt: u32, seconds: u64) -> Verdict {
        Verdict::Restart { attempt, after: Duration::from_secs(seconds) }
    }

    #[test]
    fn waits_double_up_to_the_maximum_and_then_it_is_given_up() {
        let mut revivals = Revivals::default();
        let now = Instant::now();
        let mut fail = || revivals.failed(&POLICY, now, 0.5);
        assert_eq!([fail(), fail(), fail(), fail()], [restart(1, 1), restart(2, 2), restart(3, 4), restart(4, 5)]);
        assert_eq!(fail(), Verdict::GiveUp { attempts: 4 });
        assert_eq!(fail(), Verdict::GiveUp { attempts: 4 });
    }

    #[test]
    fn what_ran_for_the_window_begins_anew() {
        let mut revivals = Revivals::default();
        let began = Instant::now();
        for _ in 0..4 {
            let _restart = revivals.failed(&POLICY, began, 0.5);
        }
        let later = began + POLICY.window + POLICY.delay_max;
        assert_eq!(revivals.failed(&POLICY, later, 0.5), restart(1, 1));
    }

    #[test]
    fn without_a_limit_it_goes_on_for_ever_and_remembers_only_so_much() {
        let policy = RestartPolicy { attempts_max: None, ..POLICY };
        let mut revivals = Revivals::default();
        let now = Instant::now();
        for _ in 0..REMEMBERED_MAX + 10 {
            assert!(matches!(revivals.failed(&policy, now, 0.5), Verdict::Restart { .. }));
        }
        assert_eq!(revivals.restarted.len(), REMEMBERED_MAX);
    }

    #[test]
    fn waits_are_spread_and_nothing_happens_unasked() {
        let now = Instant::now();
        let after = |chance| match Revivals::default().failed(&POLICY, now, chance) {
            Verdict::Restart { after, .. } => after.as_millis(),
            other => panic!("{other:?}"),
        };
        assert_eq!((after(0.0), after(1.0)), (800, 1_200));
        assert_eq!(Revivals::default().failed(&RestartPolicy::OFF, now, 0.5), Verdict::LeaveFailed);
    }
}
