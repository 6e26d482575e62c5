//! A Snowflake account to load: fakesnow behind an adapter that adds its missing fields, checks log-ins and goes wrong on demand
//! (`tests/ground/python/fakesnow_with_missing_fields.py` tells it all). Read back with Snowflake's own Python connector.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::connect::{Config, Connect};
use crate::process::{Launch, Process, Usage};
use crate::{ground, wait};

const START_LIMIT: Duration = Duration::from_secs(120);

pub const ACCOUNT: &str = "PENSTOCK";
pub const USER: &str = "LOADER";
pub const PASSWORD: &str = "open sesame";
pub const ROLE: &str = "LOADING";
pub const DATABASE: &str = "RETAIL";
pub const SCHEMA: &str = "PUBLIC";

/// An account with one user, who may log in by password and by key pair. Data outlasts [`FakeSnowflake::kill`].
pub struct FakeSnowflake {
    process: Process,
    control: Connect,
    url: String,
    port: u16,
    data: PathBuf,
    python: PathBuf,
    private_key: RsaPrivateKey,
    reader: Arc<Mutex<Option<Reader>>>,
}

/// One thing that goes wrong, once unless [`Fault::times`] says otherwise, on the next request that matches.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    action: Value,
    method: String,
    path: String,
    sql: String,
    skip: u32,
    times: Option<u32>,
}

/// Before or after the request's work is done.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    Before,
    After,
}

/// A request that the account has seen.
#[derive(Clone, Debug, Deserialize)]
pub struct Seen {
    pub method: String,
    pub path: String,
    /// Empty unless it was a query.
    pub sql: String,
    /// `None`: it was not answered.
    pub status: Option<u16>,
    /// The action of the fault that it met.
    pub fault: Option<Value>,
}

impl FakeSnowflake {
    pub async fn start() -> Result<Self> {
        Self::start_with(json!({})).await
    }

    /// With other settings of the adapter's `Account`, such as `{"idle_transaction_s": 1}`.
    pub async fn start_with(settings: Value) -> Result<Self> {
        let ground = tokio::task::spawn_blocking(|| ground::part("snowflake")).await??;
        let data = ground::data_dir("snowflake")?;
        let port = ground::free_port()?;
        let private_key = tokio::task::spawn_blocking(new_key).await??;
        let config_file = data.join("account.json");
        fs::write(&config_file, account_config(port, &data, &private_key, settings)?.to_string())?;
        let python = ground.join("bin/python");
        let script = ground::tree().join("tests/ground/python/fakesnow_with_missing_fields.py");
        let launch = Launch {
            name: "snowflake".into(),
            program: python.clone(),
            arguments: vec![script.to_string_lossy().into_owned(), config_file.to_string_lossy().into_owned()],
            environment: [("PYTHONUNBUFFERED".to_owned(), "1".to_owned())].into(),
        };
        let url = format!("http://127.0.0.1:{port}");
        let control = Connect::new(format!("{url}/_control"));
        let reader = Arc::default();
        let mut snowflake = Self { process: Process::start(launch)?, control, url, port, data, python, private_key, reader };
        snowflake.until_ready().await?;
        Ok(snowflake)
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The user's key as `snowflake.private.key` wants it: PKCS#8 in base64, without header and line ends.
    pub fn private_key(&self) -> String {
        let pem = self.private_key_pem();
        pem.lines().filter(|line| !line.starts_with("-----")).collect()
    }

    /// The user's key as a PKCS#8 PEM file.
    pub fn private_key_pem(&self) -> String {
        self.private_key.to_pkcs8_pem(LineEnding::LF).expect("a fresh RSA key can be written").to_string()
    }

    /// The sink's configuration but for `topics` and converters: class, URL, user, key pair, role, database, schema.
    pub fn connector_config(&self) -> Config {
        [
            ("connector.class", "com.snowflake.kafka.connector.SnowflakeSinkConnector".to_owned()),
            ("snowflake.url.name", self.url.clone()),
            ("snowflake.account.name", ACCOUNT.into()),
            ("snowflake.user.name", USER.into()),
            ("snowflake.private.key", self.private_key()),
            ("snowflake.role.name", ROLE.into()),
            ("snowflake.database.name", DATABASE.into()),
            ("snowflake.schema.name", SCHEMA.into()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    // ---- reading back

    /// Runs a statement as the user would, through Snowflake's own Python connector, and answers its rows by column name. Exact
    /// numbers beyond 53 bits or with a fraction, dates and VARIANTs are text.
    pub async fn query(&self, sql: &str) -> Result<Vec<Map<String, Value>>> {
        let reader = self.reader.clone();
        let (python, port, data, sql) = (self.python.clone(), self.port, self.data.clone(), sql.to_owned());
        tokio::task::spawn_blocking(move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = match &mut *reader {
                Some(open) => open.ask(&sql),
                closed => closed.insert(Reader::start(&python, port, &data)?).ask(&sql),
            };
            if answer.is_err() {
                *reader = None;
            }
            answer?.with_context(|| format!("run {sql}"))
        })
        .await?
    }

    /// One value: the first column of the only row.
    pub async fn query_one(&self, sql: &str) -> Result<Value> {
        let rows = self.query(sql).await?;
        ensure!(rows.len() == 1, "{sql} gave {} rows instead of one", rows.len());
        rows[0].values().next().cloned().with_context(|| format!("{sql} gave no column"))
    }

    /// The rows of a table, by its exact name (upper-case unless it was created in quotes).
    pub async fn count(&self, table: &str) -> Result<u64> {
        let count = self.query_one(&format!("SELECT COUNT(*) FROM \"{table}\"")).await?;
        count.as_u64().with_context(|| format!("read the count in {count}"))
    }

    /// Whether there is such a table.
    pub async fn has_table(&self, table: &str) -> Result<bool> {
        let sql = format!("SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_NAME = '{table}'");
        Ok(self.query_one(&sql).await? != json!(0))
    }

    // ---- going wrong

    /// Replaces all faults; an empty list ends them. What was held up before stays so until [`FakeSnowflake::release`].
    pub async fn set_faults(&self, faults: &[Fault]) -> Result<()> {
        self.control.put("/faults", &serde_json::to_value(faults)?).await?.ok().map(|_| ())
    }

    /// How often each fault has struck, in the order in which they were set.
    pub async fn fault_hits(&self) -> Result<Vec<u64>> {
        let faults = self.control.get("/faults").await?.ok()?;
        let hits = faults.as_array().into_iter().flatten().map(|fault| fault["hits"].as_u64());
        hits.collect::<Option<_>>().with_context(|| format!("read the hits in {faults}"))
    }

    /// Waits until the fault of this index has struck `hits` times.
    pub async fn wait_fault(&self, index: usize, hits: u64, limit: Duration) -> Result<()> {
        let struck = async || Ok(self.fault_hits().await?.get(index).is_some_and(|seen| *seen >= hits));
        wait::wait_until(&format!("fault {index} to strike {hits} times"), limit, struck).await
    }

    /// Lets all requests go on that a fault holds up.
    pub async fn release(&self) -> Result<()> {
        self.control.post("/release", &json!({})).await?.ok().map(|_| ())
    }

    /// Every session's token expires: the next request of each is refused with 390112, and the master token can renew it.
    pub async fn expire_sessions(&self) -> Result<()> {
        self.control.post("/expire-sessions", &json!({})).await?.ok().map(|_| ())
    }

    /// Every session ends, its transaction rolled back: the next request of each is refused with 390111.
    pub async fn close_sessions(&self) -> Result<()> {
        self.control.post("/close-sessions", &json!({})).await?.ok().map(|_| ())
    }

    /// The latest requests (20,000 at most), oldest first.
    pub async fn requests(&self) -> Result<Vec<Seen>> {
        Ok(serde_json::from_value(self.control.get("/requests").await?.ok()?)?)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port and data, killing it first if it runs. Sessions are gone.
    pub async fn restart(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.until_ready().await
    }

    pub fn usage(&self) -> Result<Usage> {
        self.process.usage()
    }

    pub fn log_text(&self) -> String {
        self.process.log_text()
    }

    async fn until_ready(&mut self) -> Result<()> {
        let control = self.control.clone();
        let ready = async || control.get("/ready").await.is_ok_and(|answer| answer.status == 200);
        self.process.until_ready(START_LIMIT, ready).await
    }
}

impl Drop for FakeSnowflake {
    fn drop(&mut self) {
        self.process.kill();
        fs::remove_dir_all(&self.data).ok();
    }
}

impl Fault {
    fn of(action: Value) -> Self {
        Self { action, method: String::new(), path: String::new(), sql: String::new(), skip: 0, times: Some(1) }
    }

    /// Answers with this HTTP status, nothing is done.
    pub fn status(status: u16) -> Self {
        Self::of(json!({"status": status}))
    }

    /// Answers with an error of Snowflake's own (such as "003001", "42501", "Insufficient privileges"), nothing is done.
    pub fn error(code: &str, sql_state: &str, message: &str) -> Self {
        Self::of(json!({"error": {"code": code, "sql_state": sql_state, "message": message}}))
    }

    /// Waits, then goes on.
    pub fn delay(delay: Duration) -> Self {
        Self::of(json!({"delay_ms": delay.as_millis() as u64}))
    }

    /// Closes the connection without an answer.
    pub fn drop_connection(when: When) -> Self {
        Self::of(json!({"drop": when}))
    }

    /// Hangs until [`FakeSnowflake::release`] or until the client is gone; held `Before` and the client gone, nothing is done.
    pub fn hold(when: When) -> Self {
        Self::of(json!({"hold": when}))
    }

    /// The server dies as by `kill -9`.
    pub fn exit(when: When) -> Self {
        Self::of(json!({"exit": when}))
    }

    /// Only requests whose SQL matches this (Python) regular expression, whatever its case.
    pub fn on_sql(mut self, pattern: &str) -> Self {
        self.sql = pattern.into();
        self
    }

    /// Only requests whose path matches, such as `login-request` or `fs_bucket` (uploads).
    pub fn on_path(mut self, pattern: &str) -> Self {
        self.path = pattern.into();
        self
    }

    /// Lets so many matching requests pass first.
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes so many times.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes until faults are set anew.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }
}

fn account_config(port: u16, data: &Path, key: &RsaPrivateKey, settings: Value) -> Result<Value> {
    let public_key = key.to_public_key().to_public_key_pem(LineEnding::LF)?;
    let user = json!({"password": PASSWORD, "public_key": public_key, "roles": [ROLE, "PUBLIC"]});
    let mut config = json!({"port": port, "data_dir": data, "account": ACCOUNT, "users": {USER: user}});
    let Value::Object(settings) = settings else { bail!("the settings of the account are not an object: {settings}") };
    for (key, value) in settings {
        config[key] = value;
    }
    Ok(config)
}

fn new_key() -> Result<RsaPrivateKey> {
    const BITS: usize = 2048;
    RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BITS).context("make an RSA key")
}

// ---- the reader ----

/// A Python process that runs statements, kept open since its start takes longer than most statements.
struct Reader {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start(python: &Path, port: u16, data: &Path) -> Result<Self> {
        let arguments = json!({
            "account": ACCOUNT, "user": USER, "password": PASSWORD, "role": ROLE, "database": DATABASE, "schema": SCHEMA,
            "host": "127.0.0.1", "port": port, "protocol": "http", "network_timeout": 60, "login_timeout": 20,
            "session_parameters": {"CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": false},
        });
        let file = data.join("reader.json");
        fs::write(&file, arguments.to_string()).with_context(|| format!("write {}", file.display()))?;
        let mut child = Command::new(python)
            .arg(ground::tree().join("tests/ground/python/snowflake_reader.py"))
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start snowflake_reader.py")?;
        let questions = child.stdin.take().context("reach the reader")?;
        let answers = BufReader::new(child.stdout.take().context("hear the reader")?);
        Ok(Self { child, questions, answers })
    }

    /// The outer error: the reader is of no more use. The inner one: the statement failed.
    fn ask(&mut self, sql: &str) -> Result<Result<Vec<Map<String, Value>>>> {
        #[derive(Deserialize)]
        struct Reply {
            rows: Option<Vec<Map<String, Value>>>,
            error: Option<String>,
        }
        writeln!(self.questions, "{}", Value::from(sql)).context("ask the reader")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("hear the reader")?;
        let reply: Reply = serde_json::from_str(&line).with_context(|| format!("parse the reader's answer {line:?}"))?;
        Ok(match reply {
            Reply { rows: Some(rows), .. } => Ok(rows),
            Reply { error, .. } => Err(anyhow::anyhow!(error.unwrap_or_else(|| "the reader gave neither rows nor error".into()))),
        })
    }
}

/// Its standard input ends with us, so it would end by itself; this also reaps it.
impl Drop for Reader {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
