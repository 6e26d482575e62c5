//! A worker that asks for passwords, adds headers, answers browsers from elsewhere, and tracks no topics.

use std::path::Path;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use penstock_tests::{JavaConnect, Kafka, Worker, ground, unique};
use reqwest::Method;
use serde_json::json;

use super::side::Side;
use super::step::{Like, Step, bare, get, post, put, raw, sink};
use super::{differences, none};

const EXTENSION: &str = "org.apache.kafka.connect.rest.basic.auth.extension.BasicAuthSecurityRestExtension";

/// Files of a basic-auth setup in a folder; answers the JAAS file.
fn write_users(folder: &Path) -> Result<String> {
    let (jaas, users) = (folder.join("jaas.conf"), folder.join("users.properties"));
    std::fs::write(&users, "admin=s3cret\nfred=with:colon\n")?;
    let module = "org.apache.kafka.connect.rest.basic.auth.extension.PropertyFileLoginModule";
    std::fs::write(&jaas, format!("// Users.\nKafkaConnect {{\n  {module} required\n  file=\"{}\";\n}};\n", users.display()))?;
    Ok(jaas.to_string_lossy().into_owned())
}

fn properties() -> [(&'static str, String); 5] {
    let headers =
        "add X-XSS-Protection: 1; mode=block, \"set Cache-Control: no-cache, no-store\", add x-twice: a, add x-twice: b";
    [
        ("rest.extension.classes", EXTENSION.into()),
        ("response.http.headers.config", headers.into()),
        ("access.control.allow.origin", "http://one.example,http://*.two.example".into()),
        ("access.control.allow.methods", "GET,PUT".into()),
        ("topic.tracking.enable", "false".into()),
    ]
}

trait From {
    fn from(self, name: &str, password: &str) -> Self;
}

impl From for Step {
    fn from(self, name: &str, password: &str) -> Self {
        self.header("Authorization", format!("Basic {}", BASE64.encode(format!("{name}:{password}"))))
    }
}

fn passwords() -> Vec<Step> {
    // The refusal's body is text in Java.
    let refused = |step: Step| step.like(Like::Differs(401, 401));
    vec![
        get("/").from("admin", "s3cret"),
        get("/connectors").from("fred", "with:colon"),
        get("/health").from("admin", "s3cret"),
        refused(get("/")),
        refused(get("/health")),
        refused(get("/connectors")),
        refused(get("/connectors").from("admin", "wrong")),
        refused(get("/connectors").from("admin", "")),
        refused(get("/connectors").from("nobody", "s3cret")),
        refused(get("/connectors").header("Authorization", "Bearer abc")),
        refused(get("/connectors").header("Authorization", "Basic")),
        refused(put("/connectors/a/config", &sink(&json!({})))),
        refused(get("/connector-plugins")),
        refused(bare(Method::HEAD, "/connectors")),
        refused(bare(Method::OPTIONS, "/connectors")),
        // Who asks is looked at first here.
        bare(Method::PUT, "/connectors").like(Like::Differs(405, 401)),
        get("/nope"),
        get("/connectors").accept("text/plain").like(Like::Differs(406, 401)),
        raw(Method::POST, "/connectors", "x").content_type(Some("text/plain")).like(Like::Differs(415, 401)),
    ]
}

fn browsers() -> Vec<Step> {
    let ask = |step: Step, origin: &str| step.header("Origin", origin).from("admin", "s3cret");
    let preflight = |origin: &str, method: &str| {
        ask(bare(Method::OPTIONS, "/connectors"), origin).header("Access-Control-Request-Method", method)
    };
    vec![
        ask(get("/connectors"), "http://one.example"),
        ask(get("/connectors"), "http://a.two.example"),
        ask(get("/connectors"), "http://two.example"),
        ask(get("/connectors"), "http://three.example"),
        ask(get("/nope"), "http://one.example"),
        ask(post("/connectors", &json!({"name": "b", "config": {}})), "http://one.example"),
        preflight("http://one.example", "GET"),
        preflight("http://one.example", "PUT"),
        preflight("http://one.example", "DELETE"),
        preflight("http://three.example", "GET"),
        preflight("http://one.example", "PUT").header("Access-Control-Request-Headers", "content-type"),
        preflight("http://one.example", "PUT").header("Access-Control-Request-Headers", "x-other"),
    ]
}

fn topics() -> Vec<Step> {
    vec![
        get("/connectors/a/topics").from("admin", "s3cret"),
        bare(Method::PUT, "/connectors/a/topics/reset").from("admin", "s3cret"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_guarded_worker_are_javas() -> Result<()> {
    let kafka = Kafka::shared().await?;
    let folder = ground::data_dir(&unique("users"))?;
    let jaas = write_users(&folder)?;
    let option = format!("-Djava.security.auth.login.config={jaas}");
    let (mut java, mut ours) = (JavaConnect::builder(kafka).lean().jvm(&option), Worker::builder(kafka));
    (java, ours) = (java.user("admin", "s3cret"), ours.user("admin", "s3cret"));
    for (key, value) in properties() {
        java = java.property(key, &value);
        ours = ours.property(key, &value);
    }
    let (java, ours) = tokio::join!(java.start(), ours.environment("KAFKA_OPTS", &option).start());
    let (java, ours) = (java?, ours?);
    let (java, ours) = (Side::java(java.connect().url())?, Side::ours(ours.connect().url())?);
    let steps = [passwords(), browsers(), topics()].concat();
    let found = differences(&java, &ours, &steps).await?;
    std::fs::remove_dir_all(folder).ok();
    none(&found, steps.len())
}
