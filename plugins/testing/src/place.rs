//! Where a plugin under test runs: in this process, or as a component in another one.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::task::{Context, Poll, Waker};

use penstock_api::{ErrorKind, Plugin};

use crate::call::{Call, Failure, Reply};
use crate::session::Session;

/// Names the component that cases run against, set by `penstock plugin test`.
pub const COMPONENT_VARIABLE: &str = "PENSTOCK_TEST_COMPONENT";
/// Names the `penstock` that runs it.
pub const HOST_VARIABLE: &str = "PENSTOCK_TEST_HOST";

/// A component and what runs it.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub component: PathBuf,
    host: PathBuf,
}

impl Built {
    /// As the environment says; `None` when it says nothing.
    pub(crate) fn from_environment() -> Option<Self> {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        Some(Self { component: path(COMPONENT_VARIABLE)?, host: path(HOST_VARIABLE)? })
    }
}

/// One plugin under test.
pub(crate) enum Place {
    Here(Box<Session>),
    Component(Box<Component>),
}

impl Place {
    pub(crate) fn native(plugins: Vec<Plugin>) -> Self {
        Place::Here(Box::new(Session::native(plugins)))
    }

    pub(crate) fn call(&mut self, call: Call) -> Reply {
        match self {
            Place::Here(session) => ready(session.answer(call)),
            Place::Component(component) => component.call(&call),
        }
    }
}

/// Lets a plugin run as a component does, which has nothing to wait for.
fn ready(answering: impl Future<Output = Reply>) -> Reply {
    match pin!(answering).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => reply,
        Poll::Pending => {
            Err(Failure::new(ErrorKind::Fatal, "the plugin waits for something, which a component cannot".to_owned()))
        }
    }
}

/// A process that runs a component. It ends with this.
pub(crate) struct Component {
    child: Child,
    calls: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
    built: Built,
}

impl Component {
    /// # Panics
    /// When the process cannot be started: there is nothing to test then.
    pub(crate) fn start(built: &Built) -> Self {
        let mut command = Command::new(&built.host);
        command.args(["plugin", "serve"]).arg(&built.component);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", built.host.display()));
        let calls = child.stdin.take();
        let replies = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let said = child.stderr.take().expect("stderr is a pipe");
        // From a thread of the test, so that it is shown with the test that fails.
        std::thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Self { child, calls, replies, built: built.clone() }
    }

    fn call(&mut self, call: &Call) -> Reply {
        let ended = |what: &str| Failure::new(ErrorKind::Fatal, format!("{what} {}", self.built.component.display()));
        let mut line = serde_json::to_string(call).expect("calls are JSON");
        line.push('\n');
        let calls = self.calls.as_mut().expect("taken only at the end");
        calls.write_all(line.as_bytes()).map_err(|e| ended(&format!("cannot call ({e}) the process that runs")))?;
        let mut reply = String::new();
        match self.replies.read_line(&mut reply) {
            Ok(bytes) if bytes > 0 => {
                serde_json::from_str(&reply).map_err(|e| ended(&format!("no answer ({e}: {reply}) came from")))?
            }
            _ => Err(ended("the process ended that runs")),
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // It ends at the end of its input.
        self.calls = None;
        let _ended = self.child.wait();
    }
}
