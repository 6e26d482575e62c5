//! A way to a broker that looks on: at a chosen request of a chosen client it does what a test wants, such as `kill -9` of either end.
//!
//! Clients reach brokers at the addresses that these advertise, so a broker must be started behind the tap: see `Builder::tapped`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::wait::wait_until;

/// Kafka's numbers of requests (`ApiKeys.java`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Request {
    Produce = 0,
    InitProducerId = 22,
    AddPartitionsToTxn = 24,
    EndTxn = 26,
}

/// On which side of the request it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The broker never gets it.
    BeforeBroker,
    /// The broker has answered, and the client never hears it.
    BeforeClient,
}

/// What to wait for, and what to do then; once.
pub struct Trap {
    pub request: Request,
    pub moment: Moment,
    /// The request holds all of these: a transactional id, a topic.
    pub holds: Vec<String>,
    /// So many such requests pass before.
    pub passes: u32,
    /// Is given the broker's place, from 0.
    pub act: Box<dyn FnOnce(usize) + Send>,
}

/// As many ways as there are brokers. Clones share them; they end with the runtime they were started in.
#[derive(Clone, Debug)]
pub struct Tap {
    addresses: Vec<String>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    targets: Vec<String>,
    trap: Option<Trap>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "to {:?}, armed: {}", self.targets, self.trap.is_some())
    }
}

/// A frame is not longer than a broker takes.
const FRAME_MAX: usize = 100 << 20;

impl Tap {
    /// Listens; connections wait until it is known where they lead.
    pub async fn start(brokers: usize) -> Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let mut addresses = Vec::new();
        for place in 0..brokers {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.push(listener.local_addr()?.to_string());
            tokio::spawn(serve(listener, place, shared.clone()));
        }
        Ok(Self { addresses, shared })
    }

    /// `bootstrap.servers` for whoever is to be looked at.
    pub fn bootstrap(&self) -> String {
        self.addresses.join(",")
    }

    /// What each broker advertises.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Where the brokers are.
    pub(crate) fn lead_to(&self, brokers: &str) {
        self.lock().targets = brokers.split(',').map(str::to_owned).collect();
    }

    /// Waits for a request from now on, and for none that it waited for before.
    pub fn set(&self, trap: Trap) {
        self.lock().trap = Some(trap);
    }

    /// Waits until the trap has sprung.
    pub async fn sprung(&self, what: &str, limit: Duration) -> Result<()> {
        wait_until(what, limit, async || Ok(self.lock().trap.is_none())).await
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// Ends a process as `kill -9` does.
pub fn kill_process(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    if let Err(why) = kill(pid, Signal::SIGKILL) {
        eprintln!("process {pid} is not there to be killed: {why}");
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, place: usize, shared: Arc<Mutex<Shared>>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connection(client, place, shared.clone()));
    }
}

/// Passes on until either end is gone; then both are.
async fn connection(client: TcpStream, place: usize, shared: Arc<Mutex<Shared>>) {
    let target = lock(&shared).targets.get(place).cloned();
    let Some(target) = target else { return };
    let Ok(broker) = TcpStream::connect(target).await else { return };
    drop((client.set_nodelay(true), broker.set_nodelay(true)));
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    // Correlation ids of requests whose answers spring the trap.
    let awaited = Arc::new(Mutex::new(BTreeSet::new()));
    tokio::select! {
        _ = requests(from_client, to_broker, place, &shared, &awaited) => {}
        _ = answers(from_broker, to_client, place, &shared, &awaited) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    place: usize,
    shared: &Mutex<Shared>,
    awaited: &Mutex<BTreeSet<i32>>,
) -> Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        let is_sprung = {
            let mut shared = lock(shared);
            match shared.trap.as_mut().filter(|trap| trap.is_meant(&frame)) {
                Some(trap) if trap.passes > 0 => {
                    trap.passes -= 1;
                    false
                }
                Some(trap) if trap.moment == Moment::BeforeClient => {
                    awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(correlation_id(&frame, 8));
                    false
                }
                Some(_) => {
                    spring(&mut shared, place);
                    true
                }
                None => false,
            }
        };
        if is_sprung {
            return Ok(());
        }
        to.write_all(&frame).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    place: usize,
    shared: &Mutex<Shared>,
    awaited: &Mutex<BTreeSet<i32>>,
) -> Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        if awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&correlation_id(&frame, 4)) {
            spring(&mut lock(shared), place);
            return Ok(());
        }
        to.write_all(&frame).await?;
    }
}

fn spring(shared: &mut Shared, place: usize) {
    // Gone when another connection was faster.
    if let Some(trap) = shared.trap.take() {
        (trap.act)(place);
    }
}

impl Trap {
    fn is_meant(&self, frame: &[u8]) -> bool {
        let is_request = frame.get(4..6) == Some(&(self.request as i16).to_be_bytes()[..]);
        is_request && self.holds.iter().all(|text| frame.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

/// By which a client knows which request an answer is for; it stands behind so many bytes.
fn correlation_id(frame: &[u8], at: usize) -> i32 {
    frame.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(-1, i32::from_be_bytes)
}

/// A request or an answer, with its length before it.
async fn frame(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let length = usize::try_from(from.read_i32().await?)?;
    anyhow::ensure!((4..FRAME_MAX).contains(&length), "a frame of {length} bytes");
    let mut frame = vec![0; length + 4];
    frame[..4].copy_from_slice(&i32::try_from(length)?.to_be_bytes());
    from.read_exact(&mut frame[4..]).await.context("read a frame")?;
    Ok(frame)
}
