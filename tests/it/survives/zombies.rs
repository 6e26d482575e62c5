//! A worker that was frozen for longer than its session, with records in its hands: the tasks it still has are zombies of those
//! that others run by now.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use penstock_tests::journal::now_ms;
use penstock_tests::{Kafka, unique, wait_until};

use super::flowing::{Flowing, LIMIT, Setup};

/// The group of a connector's sinks knows each task by its instance id. The successor has taken that place: the broker refuses
/// whatever the zombie commits, be it that the zombie knows already that its worker has lost its place or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_of_a_sink_task_does_not_commit_over_its_successor() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let name = unique("zombie");
    // Most of its time a task is in a put, so that it wakes with records that are to be committed.
    let mut it = Flowing::start(kafka, &Setup { names: &[&name], delay_ms: 300, ..Setup::default() }).await?;
    it.survives("the start", &[0, 1]).await?;
    wait_until("each task to have a partition", LIMIT, async || {
        it.journal.read_on()?;
        let readers: BTreeSet<_> = it.journal.readers().into_values().map(|(_, task)| task).collect();
        ensure!(readers.len() == it.journal.readers().len(), "only {readers:?} read");
        Ok(true)
    })
    .await?;

    let (leader, followers) = it.roles(&[0, 1])?;
    let [frozen] = followers[..] else { bail!("one of two leads") };
    let had = it.cluster.tasks_of(&name, frozen, leader).await?;
    ensure!(!had.is_empty());
    it.cluster.workers[frozen].signal(Signal::SIGSTOP)?;
    // The successors have taken what the zombies hold, and more.
    it.survives("a frozen worker", &[leader]).await?;
    let said = it.cluster.workers[frozen].log_text().len();
    let woke = now_ms();
    it.cluster.workers[frozen].signal(Signal::SIGCONT)?;

    // Those that were in a put. One that was not has nothing to commit, and just ends.
    wait_until("the group to refuse zombies", LIMIT, async || {
        let log = it.cluster.workers[frozen].log_text();
        let new = log.get(said..).context("a log grows")?;
        let refused = |task| format!("another consumer has taken the place of {name}-{task} in group connect-{name}");
        Ok(had.iter().any(|task| new.contains(&refused(task))))
    })
    .await?;
    it.survives("zombies", &[0, 1]).await?;
    // They had something to commit: records that their successors had taken meanwhile.
    let process = it.cluster.workers[frozen].pid();
    let first_start =
        it.journal.starts.iter().filter(|start| start.process == process && start.at_ms > woke).map(|s| s.at_ms).min();
    let zombies =
        it.journal.puts.iter().filter(|put| put.process == process && put.at_ms >= woke && Some(put.at_ms) < first_start);
    let puts: Vec<_> = zombies.collect();
    ensure!(!puts.is_empty(), "no zombie had anything to commit");
    it.end().await
}
