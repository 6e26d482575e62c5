//! A task asks for its connector's tasks to be planned anew, and the connector runs on another worker than the task.

use anyhow::{Context, Result, ensure};
use penstock_tests::{Cluster, Connect, Kafka, Worker, wait_until};
use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::SOON;
use super::shards::Shards;

#[tokio::test]
async fn a_task_is_planned_anew_wherever_its_connector_runs() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let shards = Shards::new(kafka, 6).await?;
    let cluster = Cluster::start(Worker::builder(kafka).with_test_components()?, 3).await?;
    let connect = cluster.connect(0);
    connect.create(&shards.name, &shards.config(&[])).await?;
    let tasks = [(shards.name.clone(), 6)].into();
    cluster.wait_shared_out(&tasks, &[0, 1, 2], SOON).await?;
    let owners = async |connect: &Connect| -> Result<(String, Vec<String>)> {
        let status = connect.status(&shards.name).await?.ok()?;
        let owner = |unit: &Value| unit["worker_id"].as_str().unwrap_or_default().to_owned();
        Ok((owner(&status["connector"]), status["tasks"].as_array().into_iter().flatten().map(owner).collect()))
    };
    let (of_connector, of_tasks) = owners(connect).await?;
    let leader = cluster.id(cluster.leader(&[0, 1, 2])?);
    // On a third worker, if the leader does not run the connector itself.
    let elsewhere = |owner: &String| *owner != of_connector && (of_connector == leader || *owner != leader);
    let task = of_tasks.iter().position(elsewhere).context("each worker has tasks")?;
    println!("leader {leader}, connector on {of_connector}, task {task} on {}", of_tasks[task]);

    let asks = json!(shards.config(&[("replan.task", &task.to_string())]));
    connect.put(&format!("/connectors/{}/config", shards.name), &asks).await?.ok()?;
    // Each plan restarts the task, which asks again.
    let mut plans = BTreeSet::new();
    wait_until("four plans", SOON, async || {
        let tasks = connect.get(&format!("/connectors/{}/tasks", shards.name)).await?.ok()?;
        plans.extend(tasks[task]["config"]["planned.at"].as_str().map(str::to_owned));
        Ok(plans.len() >= 4)
    })
    .await?;
    let (connector_now, tasks_now) = owners(connect).await?;
    ensure!(connector_now == of_connector && tasks_now[task] == of_tasks[task], "nothing has moved meanwhile");

    // Whoever signs nothing is no worker.
    let plan = connect.put(&format!("/connectors/{}/plan", shards.name), &Value::Null).await?;
    ensure!(plan.status == 400 || plan.status == 403, "{plan:?}");
    Ok(())
}
