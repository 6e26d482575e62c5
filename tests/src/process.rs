//! A server in a process of its own: started, watched, killed; it never outlives us.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, Once, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::ground;

const LOG_LINES_SHOWN: usize = 30;
/// Java prints its class path, several screens of it.
const LOG_LINE_CHARS_SHOWN: usize = 300;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How a server is started, each time alike.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Names the log file, and the server in messages.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// A running (or killed) server.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    log: PathBuf,
    child: Child,
    exit: Option<ExitStatus>,
    /// When the process was started.
    pub began: Instant,
}

impl Process {
    /// Starts it, its output going to a new log file.
    pub fn start(launch: Launch) -> Result<Self> {
        let log = ground::log_file(&launch.name)?;
        let child = spawn(&launch, &log)?;
        Ok(Self { launch, log, child, exit: None, began: Instant::now() })
    }

    /// Starts it again, after it was killed or has ended; the log is continued.
    pub fn start_again(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.launch, &self.log)?;
        self.exit = None;
        self.began = Instant::now();
        Ok(())
    }

    /// Waits until `ready` answers true. An error if the process ends before, or takes longer than `limit`, with the end of its log.
    pub async fn until_ready(&mut self, limit: Duration, mut ready: impl AsyncFnMut() -> bool) -> Result<()> {
        let name = self.launch.name.clone();
        while !ready().await {
            if let Some(status) = self.exit_status() {
                bail!("{name} ended before it was ready ({status}); the end of {}:\n{}", self.log.display(), self.log_end());
            }
            if self.began.elapsed() > limit {
                self.kill();
                bail!("{name} was not ready after {limit:?}; the end of {}:\n{}", self.log.display(), self.log_end());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends it as `kill -9` does. Nothing happens if it has ended already.
    pub fn kill(&mut self) {
        if self.exit_status().is_none() {
            self.child.kill().ok();
            self.exit = self.child.wait().ok();
        }
        forget(self.child.id());
    }

    /// Asks it to stop (SIGTERM) and waits for its end.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if self.exit_status().is_none() {
            self.signal(Signal::SIGTERM)?;
        }
        self.wait(limit).await
    }

    /// Waits for its end.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                forget(self.child.id());
                return Ok(status);
            }
            if began.elapsed() > limit {
                bail!("{} did not end within {limit:?}; the end of its log:\n{}", self.launch.name, self.log_end());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).with_context(|| format!("send {signal} to {}", self.launch.name))
    }

    /// How it ended; `None` while it runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().unwrap_or_else(|_| Some(ExitStatus::from_raw(0)));
        }
        self.exit
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid()).with_context(|| format!("read what {} uses", self.launch.name))
    }

    /// The file that its output goes to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All that it has said so far, over all starts.
    pub fn log_text(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn log_end(&self) -> String {
        last_lines(&self.log_text(), LOG_LINES_SHOWN)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has used, from `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// User and system time of all its threads, ended ones too. The kernel counts in steps of 10 ms.
    pub cpu: Duration,
    pub rss_bytes: u64,
    pub threads: usize,
    /// The highest resident size so far.
    pub rss_peak_bytes: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Ok(Self {
            cpu: cpu_of_stat(&stat).context("read the times in /proc/PID/stat")?,
            threads: number_of_status(&status, "Threads:").context("read Threads in /proc/PID/status")?,
            rss_bytes: size_of_status(&status, "VmRSS:").context("read VmRSS in /proc/PID/status")?,
            rss_peak_bytes: size_of_status(&status, "VmHWM:").context("read VmHWM in /proc/PID/status")?,
        })
    }

    pub fn rss_peak_mb(&self) -> f64 {
        self.rss_peak_bytes as f64 / 1e6
    }

    pub fn rss_mb(&self) -> f64 {
        self.rss_bytes as f64 / 1e6
    }
}

fn cpu_of_stat(stat: &str) -> Option<Duration> {
    // The second field, the command, may hold spaces and brackets: count from its end. utime and stime are fields 14 and 15.
    const TICKS_PER_S: u64 = 100; // USER_HZ, the same on all of Linux
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_S))
}

fn size_of_status(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn number_of_status(status: &str, field: &str) -> Option<usize> {
    status.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

// ---- starting, so that nothing is left behind ----

/// Starts a process that the kernel kills when we end. The kernel means the *thread* that started it, and a test's thread ends
/// long before the test binary does; so one thread that never ends starts them all.
fn spawn(launch: &Launch, log: &Path) -> Result<Child> {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        let start_all = move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn()).ok();
            }
        };
        std::thread::Builder::new().name("starter".into()).spawn(start_all).expect("a thread can be started");
        Mutex::new(orders)
    });

    let output = File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).envs(&launch.environment).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    // SAFETY: between fork and exec only prctl is called, which is safe there.
    unsafe { command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Into::into)) };

    let (reply, answer) = mpsc::channel();
    STARTER.lock().unwrap_or_else(PoisonError::into_inner).send((command, reply)).context("reach the starter thread")?;
    let child = answer.recv().context("hear from the starter thread")?;
    let child = child.with_context(|| format!("start {} ({})", launch.name, launch.program.display()))?;
    remember(child.id(), log);
    Ok(child)
}

// ---- showing logs when a test fails ----

static LIVE_LOGS: Mutex<BTreeMap<u32, PathBuf>> = Mutex::new(BTreeMap::new());

fn remember(pid: u32, log: &Path) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            usual(panic);
            show_live_logs();
        }));
    });
    LIVE_LOGS.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, log.to_owned());
}

fn forget(pid: u32) {
    LIVE_LOGS.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Prints the ends of the logs of all servers that run now.
pub fn show_live_logs() {
    let logs = LIVE_LOGS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for log in logs.values() {
        let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        eprintln!("---- the end of {}\n{}", log.display(), last_lines(&text, LOG_LINES_SHOWN));
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let cut = |line: &&str| line.chars().take(LOG_LINE_CHARS_SHOWN).collect::<String>();
    lines[lines.len().saturating_sub(count)..].iter().map(cut).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let launch = Launch {
            name: "shell".into(),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: BTreeMap::new(),
        };
        Process::start(launch).unwrap()
    }

    #[tokio::test]
    async fn tells_why_it_was_never_ready() {
        let mut process = shell("echo no disk left; exit 3");
        let error = process.until_ready(Duration::from_secs(10), async || false).await.unwrap_err().to_string();
        assert!(error.contains("ended before it was ready (exit status: 3)") && error.contains("no disk left"), "{error}");
    }

    #[tokio::test]
    async fn gives_up_on_one_that_hangs() {
        let mut process = shell("sleep 60");
        let error = process.until_ready(Duration::from_millis(50), async || false).await.unwrap_err().to_string();
        assert!(error.contains("was not ready after 50ms"), "{error}");
        assert!(process.exit_status().is_some(), "it is killed");
    }

    /// A child that was started from a short-lived thread was once killed when that thread ended.
    #[tokio::test]
    async fn outlives_the_thread_that_asked_for_it() {
        let mut process =
            std::thread::spawn(|| shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")).join().unwrap();
        while !process.log_text().contains("up") {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        assert_eq!(process.exit_status(), None);
        assert_eq!(process.terminate(Duration::from_secs(10)).await.unwrap().code(), Some(7));
    }

    #[test]
    fn reads_times_behind_an_odd_command_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_of_stat(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn counts_its_own_work() {
        let before = Usage::of(std::process::id()).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let after = Usage::of(std::process::id()).unwrap();
        assert!(after.cpu > before.cpu && after.rss_peak_bytes >= after.rss_bytes && after.rss_bytes > 0);
    }
}
