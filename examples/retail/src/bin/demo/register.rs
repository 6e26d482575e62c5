//! Registers the connectors with `curl`, and shows each command.

use anyhow::{Context, Result, bail};
use penstock_tests::ground::tree;
use serde_json::Value;
use tokio::process::Command;

use crate::ground::Ground;
use crate::streams;

/// Registers all connectors and waits until their tasks run.
pub(crate) async fn all(ground: &Ground) -> Result<()> {
    let url = ground.worker.connect().url();
    for (_, file) in streams::connectors() {
        let data = format!("@examples/retail/connectors/{file}");
        let created =
            curl(&["-X", "POST", "-H", "Content-Type: application/json", "--data", &data, &format!("{url}/connectors")]).await?;
        if created.get("error_code").is_some() {
            bail!("the worker refused {file}: {}", created["message"].as_str().unwrap_or_default());
        }
    }
    for (connector, _) in streams::connectors() {
        ground.worker.connect().wait_running(connector, 1).await?;
    }
    let status = curl(&[&format!("{url}/connectors?expand=status")]).await?;
    for (name, known) in status.as_object().context("read the list of connectors")? {
        let state = |at: &Value| at["state"].as_str().unwrap_or("?").to_owned();
        let tasks = known["status"]["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tasks: Vec<String> = tasks.iter().map(state).collect();
        println!("    {name}: {}, tasks {}", state(&known["status"]["connector"]), tasks.join(" "));
    }
    Ok(())
}

/// Runs curl in the root of the tree, showing it as one would type it.
async fn curl(arguments: &[&str]) -> Result<Value> {
    let shown = |argument: &&str| if argument.contains([' ', '?']) { format!("'{argument}'") } else { (*argument).to_owned() };
    println!("    $ curl -s {}", arguments.iter().map(shown).collect::<Vec<_>>().join(" "));
    let output = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--max-time", "90"])
        .args(arguments)
        .current_dir(tree())
        .kill_on_drop(true)
        .output()
        .await
        .context("run curl: install it")?;
    if !output.status.success() {
        bail!("curl failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("read the answer {:?}", String::from_utf8_lossy(&output.stdout)))
}
