//! `penstock connector offsets`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::Client;
use super::error::{CliError, Result};
use super::table::{table, text};
use super::{Remote, shown};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show how far a connector is.
    #[command(after_help = "Example:\n  penstock connector offsets get orders")]
    Get { name: String },
    /// Set where a stopped connector goes on.
    #[command(after_help = "Examples:\n  penstock connector offsets set orders orders:0=1000 orders:1=950   # sinks\n  \
                            penstock connector offsets set files --partition '{\"filename\":\"a\"}' --offset '{\"position\":10}'   # sources")]
    Set {
        name: String,
        /// TOPIC:PARTITION=OFFSET, for sinks; `null` instead of an offset forgets it.
        #[arg(value_parser = sink_offset)]
        offsets: Vec<Value>,
        /// A source's partition, as `offsets get -o json` shows it.
        #[arg(long, requires = "offset", value_parser = json_object)]
        partition: Option<Value>,
        /// Where it goes on; `null` forgets it.
        #[arg(long, requires = "partition", value_parser = json_object)]
        offset: Option<Value>,
    },
    /// Forget how far a stopped connector is: it begins anew.
    #[command(after_help = "Example:\n  penstock connector stop orders && penstock connector offsets reset orders")]
    Reset { name: String },
}

pub(super) async fn run(client: &Client, remote: &Remote, command: Command) -> Result<String> {
    match command {
        Command::Get { name } => {
            let answer = client.get(&["connectors", &name, "offsets"], &[]).await?;
            shown(remote, &answer, || offsets_table(&answer))
        }
        Command::Set { name, mut offsets, partition, offset } => {
            if let (Some(partition), Some(offset)) = (partition, offset) {
                offsets.push(json!({"partition": partition, "offset": offset}));
            }
            if offsets.is_empty() {
                return Err(CliError::Usage("give TOPIC:PARTITION=OFFSET, or --partition and --offset".into()));
            }
            let answer = client.patch(&["connectors", &name, "offsets"], &json!({ "offsets": offsets })).await?;
            shown(remote, &answer, || format!("{}\n", text(&answer["message"])))
        }
        Command::Reset { name } => {
            let answer = client.delete(&["connectors", &name, "offsets"]).await?;
            shown(remote, &answer, || format!("{}\n", text(&answer["message"])))
        }
    }
}

fn offsets_table(answer: &Value) -> String {
    let offsets = answer["offsets"].as_array().map_or(&[][..], Vec::as_slice);
    let is_sink = offsets.iter().all(|entry| entry["partition"].get("kafka_topic").is_some());
    if is_sink {
        let row = |entry: &Value| {
            let partition = &entry["partition"];
            [text(&partition["kafka_topic"]), text(&partition["kafka_partition"]), text(&entry["offset"]["kafka_offset"])]
        };
        return table(["TOPIC", "PARTITION", "OFFSET"], &offsets.iter().map(row).collect::<Vec<_>>());
    }
    let row = |entry: &Value| [entry["partition"].to_string(), entry["offset"].to_string()];
    table(["PARTITION", "OFFSET"], &offsets.iter().map(row).collect::<Vec<_>>())
}

/// `orders:0=1000`. A topic's name holds neither `:` nor `=`.
fn sink_offset(argument: &str) -> std::result::Result<Value, String> {
    let parts = argument.split_once('=').and_then(|(place, offset)| Some((place.rsplit_once(':')?, offset)));
    let Some(((topic, partition), offset)) = parts else { return Err("write it as TOPIC:PARTITION=OFFSET".into()) };
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("{text} is not a number"));
    let offset = if offset == "null" { Value::Null } else { json!({"kafka_offset": number(offset)?}) };
    Ok(json!({"partition": {"kafka_topic": topic, "kafka_partition": number(partition)?}, "offset": offset}))
}

fn json_object(argument: &str) -> std::result::Result<Value, String> {
    let value: Value = serde_json::from_str(argument).map_err(|error| error.to_string())?;
    if value.is_object() || value.is_null() { Ok(value) } else { Err("a JSON object is expected".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sinks_offset_is_read() {
        let expected = json!({"partition": {"kafka_topic": "a.b", "kafka_partition": 3}, "offset": {"kafka_offset": 7}});
        assert_eq!(sink_offset("a.b:3=7").unwrap(), expected);
        assert_eq!(sink_offset("a:0=null").unwrap()["offset"], Value::Null);
        for wrong in ["a:3", "a=3", "a:x=3", "a:3=x"] {
            assert!(sink_offset(wrong).is_err(), "{wrong}");
        }
    }
}
