//! Waiting for conditions, with a limit and a name.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `condition` answers true. An error of the condition counts as "not yet" and is told when time is up.
pub async fn wait_until(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    eventually(what, limit, async || Ok(condition().await?.then_some(()))).await
}

/// Waits until `probe` answers a value. An error of the probe counts as "not yet" and is told when time is up.
pub async fn eventually<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        let answer = probe().await;
        if let Ok(Some(value)) = answer {
            return Ok(value);
        }
        if began.elapsed() >= limit {
            let late = format!("waited {limit:?} for {what}");
            return match answer {
                Err(error) => Err(error).context(late),
                Ok(_) => bail!(late),
            };
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_the_last_error_when_time_is_up() {
        let error = wait_until("rain", Duration::ZERO, async || bail!("the sky is blue")).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "waited 0ns for rain: the sky is blue");
    }

    #[tokio::test]
    async fn answers_the_value() {
        let mut tries = 0;
        let answer = eventually("three tries", Duration::from_secs(5), async || {
            tries += 1;
            Ok((tries == 3).then_some("done"))
        });
        assert_eq!(answer.await.unwrap(), "done");
    }
}
