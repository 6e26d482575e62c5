//! Sessions with Snowflake: statements through the `snowflake-api` crate, PUT by a call of our own, a small pool.
//!
//! A session holds at most one transaction. One that failed in any way is not used again: whatever it had open ends with it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use penstock_api::{Error, Result};
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::json;
use snowflake_api::{AuthArgs, AuthType, CertificateArgs, PasswordArgs, SnowflakeApi, SnowflakeApiBuilder};
use uuid::Uuid;

use crate::auth::{self, Signer};
use crate::config::{Account, Login};
use crate::names::{TableName, literal};
use crate::sql::{Failure, Rows};
use crate::upload::{self, PutAnswer};
use crate::wire::{Seen, Wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions kept for later; more are closed.
const IDLE_SESSIONS_MAX: usize = 4;

/// Makes sessions.
pub struct Client {
    account: Account,
    /// The key as the crate wants it.
    private_key_pem: Option<String>,
    signer: Option<Arc<Signer>>,
    http: reqwest::Client,
    idle: Mutex<Vec<Session>>,
}

/// A session; it logs in with its first statement and renews its token by itself.
pub struct Session {
    api: SnowflakeApi,
    wire: ClientWithMiddleware,
    http: reqwest::Client,
    seen: Arc<Seen>,
    account: Account,
    ready: bool,
}

impl Client {
    /// A client of the account; nothing is sent yet.
    ///
    /// # Errors
    /// `Config` when the private key cannot be read.
    pub fn new(account: &Account) -> Result<Self> {
        let private_key_pem = match &account.login {
            Login::KeyPair { key, passphrase } => Some(auth::private_key(key, passphrase.as_deref())?),
            Login::Password(_) => None,
        };
        let signer =
            private_key_pem.as_deref().map(|pem| Signer::new(pem, &account.name, &account.user)).transpose()?.map(Arc::new);
        let http = reqwest::Client::builder()
            .user_agent(concat!("penstock/", env!("CARGO_PKG_VERSION")))
            .gzip(true)
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT.min(account.request_timeout))
            .timeout(account.request_timeout)
            .build()
            .map_err(|e| Error::fatal("cannot set up the HTTP client").with_source(e))?;
        Ok(Self { account: account.clone(), private_key_pem, signer, http, idle: Mutex::default() })
    }

    /// A session that nobody else uses.
    ///
    /// # Errors
    /// `Fatal` when the crate cannot be set up.
    pub fn session(&self) -> Result<Session> {
        if let Some(session) = self.idle().pop() {
            return Ok(session);
        }
        let seen = Arc::<Seen>::default();
        let wire = ClientBuilder::new(self.http.clone())
            .with(Wire::new(self.account.url.clone(), self.signer.clone(), seen.clone()))
            .build();
        let auth_type = match (&self.account.login, &self.private_key_pem) {
            (Login::Password(password), _) => AuthType::Password(PasswordArgs { password: password.clone() }),
            (Login::KeyPair { .. }, pem) => {
                AuthType::Certificate(CertificateArgs { private_key_pem: pem.clone().unwrap_or_default() })
            }
        };
        // The crate writes these in capitals; quoted names are set by USE instead.
        let plain = |name: &str| (!name.starts_with('"')).then(|| name.to_owned());
        let auth = AuthArgs {
            account_identifier: self.account.name.clone(),
            warehouse: self.account.warehouse.as_deref().and_then(plain),
            database: plain(&self.account.database),
            schema: plain(&self.account.schema),
            username: self.account.user.clone(),
            role: self.account.role.as_deref().and_then(plain),
            auth_type,
        };
        let api = SnowflakeApiBuilder::new(auth).with_client(wire.clone()).build();
        let api = api.map_err(|e| Error::fatal("cannot set up the Snowflake client").with_source(e))?;
        Ok(Session { api, wire, http: self.http.clone(), seen, account: self.account.clone(), ready: false })
    }

    /// Keeps a session that has no transaction open and has not failed.
    pub fn give_back(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < IDLE_SESSIONS_MAX {
            idle.push(session);
        }
    }

    /// Ends all idle sessions.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle());
        for session in idle {
            session.close().await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Runs one statement to its end.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn run(&mut self, sql: &str) -> Result<Rows, Failure> {
        if !self.ready {
            for statement in self.first_statements() {
                self.exec(&statement).await?;
            }
            self.ready = true;
        }
        self.exec(sql).await
    }

    async fn exec(&mut self, sql: &str) -> Result<Rows, Failure> {
        let result = self.api.exec(sql).await;
        let failure = self.seen.take_failure();
        Rows::read(result.map_err(|error| failure.unwrap_or_else(|| Failure::of_crate(&error)))?)
    }

    /// Names that the log-in cannot carry.
    fn first_statements(&self) -> Vec<String> {
        let quoted = |name: &str| name.starts_with('"').then(|| name.to_owned());
        let named = [("ROLE", self.account.role.as_deref()), ("WAREHOUSE", self.account.warehouse.as_deref())];
        named.into_iter().filter_map(|(kind, name)| Some(format!("USE {kind} {}", name.and_then(quoted)?))).collect()
    }

    /// Puts a file into a stage, at `folder/name`, over any that is there.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn put(&mut self, stage: &TableName, folder: &str, name: &str, bytes: Bytes) -> Result<(), Failure> {
        let file = literal(&format!("file:///tmp/{name}"));
        let sql = format!("PUT {file} {} AUTO_COMPRESS=FALSE SOURCE_COMPRESSION=NONE OVERWRITE=TRUE", stage_path(stage, folder));
        let answer = self.ask_put(&sql).await?;
        upload::upload(&self.http, answer, name, bytes).await
    }

    /// The crate's own PUT reads local files and knows S3 only, so this request is ours, in the crate's session.
    async fn ask_put(&mut self, sql: &str) -> Result<PutAnswer, Failure> {
        if self.seen.token().is_none() {
            self.run("SELECT 1").await?;
        }
        let token = self.seen.token().ok_or_else(|| Failure::protocol("a session without a token"))?;
        let mut url = self.account.url.clone();
        url.set_path("/queries/v1/query-request");
        url.query_pairs_mut()
            .append_pair("requestId", &Uuid::new_v4().to_string())
            .append_pair("request_guid", &Uuid::new_v4().to_string());
        let body = json!({ "sqlText": sql, "asyncExec": false, "sequenceId": 1, "isInternal": false });
        let request = self.wire.post(url).header(ACCEPT, "application/json").header(AUTHORIZATION, token).json(&body);
        let response = request.send().await?;
        let body = response.bytes().await.map_err(|e| Failure::of_http(&e))?;
        PutAnswer::parse(&body)
    }

    /// Ends the session; a transaction left open is rolled back. Failing is of no consequence: sessions end by themselves.
    pub async fn close(mut self) {
        if self.seen.token().is_some()
            && let Err(error) = self.api.close_session().await
        {
            tracing::debug!(%error, "could not end a session");
        }
    }
}

/// A place in a stage, for SQL.
#[must_use]
pub fn stage_path(stage: &TableName, path: &str) -> String {
    format!("@{stage}/{path}")
}
