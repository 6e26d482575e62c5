//! A connector's status in columns.

use serde_json::Value;

use super::table::{table, text};
use super::wait::first_line;

/// A row of the list of connectors: name, type, state, tasks, worker, class.
pub(super) fn connector_row(name: &str, both: &Value) -> [String; 6] {
    let (status, info) = (&both["status"], &both["info"]);
    let tasks = status["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    let in_state = |state: &str| tasks.iter().filter(|task| task["state"] == state).count();
    let mut summary = format!("{}/{}", in_state("RUNNING"), tasks.len());
    if in_state("FAILED") > 0 {
        summary += &format!(" ({} FAILED)", in_state("FAILED"));
    }
    [
        name.to_owned(),
        text(&status["type"]),
        text(&status["connector"]["state"]),
        summary,
        text(&status["connector"]["worker_id"]),
        text(&info["config"]["connector.class"]),
    ]
}

/// A connector and its tasks, with the traces of those that failed: their first lines, or all of them.
pub(super) fn status_table(status: &Value, trace: bool) -> String {
    let unit =
        |who: String, unit: &Value| [who, text(&unit["state"]), text(&unit["worker_id"]), text(&unit["version"]), remarks(unit)];
    let tasks = status["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    let mut rows = vec![unit("connector".into(), &status["connector"])];
    rows.extend(tasks.iter().map(|task| unit(format!("task {}", task["id"]), task)));
    let mut shown = format!("{} ({})\n\n", text(&status["name"]), text(&status["type"]));
    shown += &table(["UNIT", "STATE", "WORKER", "VERSION", "REMARKS"], &rows);
    let units = std::iter::once(("connector".to_owned(), &status["connector"]));
    for (who, unit) in units.chain(tasks.iter().map(|task| (format!("task {}", task["id"]), task))) {
        if let Some(whole) = unit["trace"].as_str() {
            let told = if trace { whole.trim_end() } else { first_line(unit) };
            shown += &format!("\n{who}: {told}\n");
        }
    }
    shown
}

/// What a Penstock worker says beyond Connect's states.
pub(super) fn remarks(unit: &Value) -> String {
    let health = unit["health"].as_object().into_iter().flatten();
    health
        .map(|(name, value)| value["message"].as_str().map_or_else(|| name.clone(), |message| format!("{name}: {message}")))
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_readable() {
        let status = json!({
            "name": "orders", "type": "sink", "connector": {"state": "RUNNING", "worker_id": "w:1", "version": "1"},
            "tasks": [{"id": 0, "state": "FAILED", "worker_id": "w:1", "trace": "it broke\n\tat x\n"}]
        });
        let expected = "orders (sink)\n\nUNIT       STATE    WORKER  VERSION  REMARKS\nconnector  RUNNING  w:1     1\n\
                        task 0     FAILED   w:1\n\ntask 0: it broke\n";
        assert_eq!(status_table(&status, false), expected);
        assert!(status_table(&status, true).ends_with("task 0: it broke\n\tat x\n"));
    }

    #[test]
    fn a_listing_counts_tasks() {
        let both = json!({
            "status": {"type": "sink", "connector": {"state": "RUNNING", "worker_id": "w"},
                       "tasks": [{"state": "RUNNING"}, {"state": "FAILED"}]},
            "info": {"config": {"connector.class": "C"}}
        });
        assert_eq!(connector_row("a", &both).join("|"), "a|sink|RUNNING|1/2 (1 FAILED)|w|C");
    }
}
