//! The real Schema Registry behind a proxy that goes wrong on demand.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::ground;
use crate::registry::Registry;

/// How the registry behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As the real one.
    Well,
    /// Nobody listens on its port.
    Down,
    /// Connections are closed without an answer.
    HangsUp,
    /// Requests are taken and never answered.
    Silent,
    /// As the real one, after this time for each connection.
    Slow(Duration),
    /// Every request gets this status and body.
    Answers(u16, String),
}

impl Mood {
    /// A refusal as a Schema Registry words it.
    pub fn refusal(status: u16, error_code: u32, message: &str) -> Self {
        Mood::Answers(status, serde_json::json!({"error_code": error_code, "message": message}).to_string())
    }
}

/// A registry of its own URL, with the schemas of the one behind it. A change of mood closes all connections.
pub struct FaultyRegistry {
    address: SocketAddr,
    path: String,
    wanted: watch::Sender<Mood>,
    in_effect: watch::Receiver<Option<Mood>>,
    door: JoinHandle<()>,
}

impl FaultyRegistry {
    /// A proxy before `registry`, in this mood.
    pub async fn start(registry: &Registry, mood: Mood) -> Result<Self> {
        let url = url::Url::parse(registry.url())?;
        let real = *url.socket_addrs(|| None)?.first().context("find the registry's address")?;
        let address = SocketAddr::from(([127, 0, 0, 1], ground::free_port()?));
        let (wanted, asked) = watch::channel(mood.clone());
        let (tell, in_effect) = watch::channel(None);
        let door = tokio::spawn(keep_door(address, real, asked, tell));
        let faulty = Self { address, path: url.path().to_owned(), wanted, in_effect, door };
        faulty.set(mood).await?;
        Ok(faulty)
    }

    /// `schema.registry.url`.
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, self.path)
    }

    /// Changes the mood, and waits until it is in effect.
    pub async fn set(&self, mood: Mood) -> Result<()> {
        self.wanted.send_replace(mood.clone());
        self.in_effect.clone().wait_for(|now| now.as_ref() == Some(&mood)).await.context("change the registry's mood")?;
        Ok(())
    }
}

impl Drop for FaultyRegistry {
    fn drop(&mut self) {
        self.door.abort();
    }
}

/// Listens while the mood is not [`Mood::Down`]; each mood begins with no connections.
async fn keep_door(
    address: SocketAddr,
    real: SocketAddr,
    mut wanted: watch::Receiver<Mood>,
    in_effect: watch::Sender<Option<Mood>>,
) {
    loop {
        let now = wanted.borrow_and_update().clone();
        let listener = match now {
            Mood::Down => None,
            _ => Some(TcpListener::bind(address).await.expect("the port is the proxy's own")),
        };
        let mut visitors = JoinSet::new();
        in_effect.send_replace(Some(now.clone()));
        loop {
            let accept = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                accepted = accept => match accepted {
                    Ok((visitor, _)) => drop(visitors.spawn(serve(visitor, real, now.clone()))),
                    Err(_) => break,
                },
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

/// Serves one connection. What goes wrong here is the visitor's to notice.
async fn serve(mut visitor: TcpStream, real: SocketAddr, mood: Mood) {
    match mood {
        Mood::Down | Mood::HangsUp => {}
        Mood::Silent => std::future::pending().await,
        Mood::Well => pass_on(&mut visitor, real).await,
        Mood::Slow(delay) => {
            tokio::time::sleep(delay).await;
            pass_on(&mut visitor, real).await;
        }
        Mood::Answers(status, body) => {
            if read_head(&mut visitor).await.is_some() {
                let head = format!(
                    "HTTP/1.1 {status} Told\r\nContent-Type: application/vnd.schemaregistry.v1+json\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    body.len()
                );
                visitor.write_all(format!("{head}{body}").as_bytes()).await.ok();
                visitor.shutdown().await.ok();
                // What is left of the request is read: closing over it would reset the connection before the answer is read.
                tokio::io::copy(&mut visitor, &mut tokio::io::sink()).await.ok();
            }
        }
    }
}

async fn pass_on(visitor: &mut TcpStream, real: SocketAddr) {
    if let Ok(mut real) = TcpStream::connect(real).await {
        tokio::io::copy_bidirectional(visitor, &mut real).await.ok();
    }
}

/// Reads up to the empty line behind a request's headers; `None` when the visitor leaves before.
async fn read_head(visitor: &mut TcpStream) -> Option<()> {
    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match visitor.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => head.extend_from_slice(&chunk[..read]),
        }
    }
    Some(())
}
