//! `errors.restart.*`: whether what failed is started again, and after which wait.

use std::time::Duration;

use penstock_api::{Parsed, Props};

/// A connector's wish. Off unless `errors.restart.max.attempts` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within the window; `None`: any number.
    pub attempts_max: Option<u32>,
    pub window: Duration,
    pub delay_initial: Duration,
    pub delay_max: Duration,
}

/// No wait is longer than a day, whatever is set.
const DELAY_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl RestartPolicy {
    /// Nothing is restarted.
    pub const OFF: Self =
        Self { attempts_max: Some(0), window: Duration::ZERO, delay_initial: Duration::ZERO, delay_max: Duration::ZERO };

    /// From checked keys.
    #[must_use]
    pub fn new(parsed: &Parsed) -> Self {
        let attempts: i64 = parsed.number("errors.restart.max.attempts");
        Self {
            attempts_max: u32::try_from(attempts).ok(),
            window: parsed.millis("errors.restart.window.ms"),
            delay_initial: parsed.millis("errors.restart.delay.initial.ms").min(DELAY_LIMIT),
            delay_max: parsed.millis("errors.restart.delay.max.ms").min(DELAY_LIMIT),
        }
    }

    /// From a configuration whose variables are resolved. Off when a key makes no sense: then the connector does not start anyway.
    #[must_use]
    pub fn of(props: &Props) -> Self {
        super::common::restart_definition().parse(props).map_or(Self::OFF, |parsed| Self::new(&parsed))
    }

    #[must_use]
    pub fn is_off(&self) -> bool {
        self.attempts_max == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_unless_asked_for() {
        let of = |pairs: &[(&str, &str)]| {
            RestartPolicy::of(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert!(of(&[]).is_off());
        assert!(of(&[("errors.restart.max.attempts", "often")]).is_off());
        let asked = of(&[("errors.restart.max.attempts", "5"), ("errors.restart.delay.initial.ms", "10")]);
        let expected = RestartPolicy {
            attempts_max: Some(5),
            window: Duration::from_secs(600),
            delay_initial: Duration::from_millis(10),
            delay_max: Duration::from_secs(60),
        };
        assert_eq!(asked, expected);
        assert_eq!(of(&[("errors.restart.max.attempts", "-1")]).attempts_max, None);
        let patient = of(&[("errors.restart.max.attempts", "1"), ("errors.restart.delay.max.ms", &i64::MAX.to_string())]);
        assert_eq!(patient.delay_max, DELAY_LIMIT);
    }
}
