//! `weir run`: the proxy.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Exit, Source};
use crate::config::value::SocketPath;
use crate::config::{Document, Problems};
use crate::control::log::OwnLog;
use crate::control::state::StateDir;
use crate::control::upgrade::{Command, Taking};
use crate::control::{Control, Reports, Settings, Signal, StartError, Wiring};
use crate::kernel::{Feeds, Stay, cgroup};
use crate::worker::{Fleet, Process, clock};

/// How long the access log's last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(5);

/// `weir run [--takeover[=SOCKET]] [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Take over from the weir that listens at this socket, by default the document's `upgrade_socket`: what `weir
    /// upgrade` starts.
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    pub takeover: Option<Option<PathBuf>>,
    /// Which document.
    #[command(flatten)]
    pub source: Source,
}

/// Why the process could not start.
enum Failed {
    Document(Problems),
    System(String),
}

/// A running proxy.
pub(super) struct Running {
    process: Arc<Process>,
    fleet: Fleet,
    control: Control,
    stay: Option<Stay>,
    _log: OwnLog,
}

/// Runs until a signal ends it.
pub fn run(arguments: &Arguments) -> Exit {
    let started = match &arguments.takeover {
        None => start(&arguments.source),
        Some(path) => take_over(&arguments.source, path.as_deref()).map_err(Failed::told),
    };
    started.map_or_else(|exit| exit, Running::wait)
}

/// Starts everything, or says why not.
pub(super) fn start(source: &Source) -> Result<Running, Exit> {
    let started = source.load().map_err(Failed::Document).and_then(|document| try_start(source, document, &mut None));
    started.map_err(Failed::told)
}

/// The same with all that another process has; that one is told why not.
fn take_over(source: &Source, path: Option<&Path>) -> Result<Running, Failed> {
    let connect = |path: &Path| Taking::connect(path).map(Some).map_err(|error| Failed::System(error.to_string()));
    // Whoever has started this process has named the path, and learns of a bad document from it.
    let mut taking = path.map(connect).transpose()?.flatten();
    let started = source.load().map_err(Failed::Document).and_then(|document| {
        let SocketPath(named) = &document.upgrade_socket;
        if let (None, Some(path)) = (&taking, named) {
            taking = connect(path)?;
        }
        match taking.is_some() {
            true => try_start(source, document, &mut taking),
            false => Err(Failed::System("cannot take over: there is no upgrade_socket".to_owned())),
        }
    });
    if let (Err(failed), Some(taking)) = (&started, taking) {
        taking.fail(&failed.to_string());
    }
    started
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(problems) => problems.fmt(f),
            Self::System(message) => f.write_str(message),
        }
    }
}

impl Failed {
    /// Says it on standard error.
    fn told(self) -> Exit {
        match self {
            Self::Document(problems) => {
                eprint!("{problems}");
                Exit::of(&problems)
            }
            Self::System(message) => {
                eprintln!("weir: {message}");
                Exit::System
            }
        }
    }
}

fn try_start(source: &Source, document: Document, taking: &mut Option<Taking>) -> Result<Running, Failed> {
    let system = |error: &dyn fmt::Display| Failed::System(error.to_string());
    let log = OwnLog::start(&document.log).map_err(|error| Failed::System(format!("log: cannot open: {error}")))?;
    let settings = settings(source, &document);
    let lock = taking.as_mut().and_then(Taking::lock);
    let state = StateDir::open(document.node.state_dir.as_deref(), StateDir::of_environment().as_deref(), lock);
    let state = state.map_err(|error| system(&error))?;
    if let Some(why) = state.missing() {
        tracing::warn!(why, "no state directory: bans of the API and findings end with the process");
    }
    // Sockets keep the cgroup of their creation. Whatever fails from here on, the process leaves it again.
    let stay = match taking.as_ref().and_then(Taking::home) {
        Some(home) => cgroup::join(home),
        None => cgroup::enter(),
    };
    let (reports, reported) = Reports::channel();
    let (feeds, fed) = Feeds::channel();
    let heritage = taking.as_mut().map(Taking::heritage);
    let started = Process::start(source.clone(), document.workers, &settings.node_id, reports, feeds, heritage);
    let (process, fleet) = started.map_err(|error| system(&error))?;
    let process = Arc::new(process);
    let wiring = Wiring {
        facts: process.facts.clone(),
        clock,
        counters: process.counters.clone(),
        routes: process.routes.clone(),
        rules: process.rules.clone(),
        reports: reported,
        state: Arc::new(state),
        findings: process.findings.clone(),
        flows: process.flows.clone(),
        home: stay.as_ref().map(|stay| stay.home().clone()),
        fed,
        tls: process.tls.clone(),
        process: process.clone(),
        taking: taking.take(),
    };
    let control = Control::start(&settings, wiring, document).map_err(|error| match error {
        StartError::Refused(refusal) => match refusal.downcast::<Problems>() {
            Ok(problems) => Failed::Document(*problems),
            Err(refusal) => Failed::System(refusal.to_string()),
        },
        error => system(&error),
    })?;
    Ok(Running { process, fleet, control, stay, _log: log })
}

fn settings(source: &Source, document: &Document) -> Settings {
    let SocketPath(upgrade_socket) = document.upgrade_socket.clone();
    Settings {
        management: document.management.listen.clone(),
        hosts: Vec::new(),
        metrics: document.metrics.listen,
        node_id: document.node.id.clone().unwrap_or_else(host_name),
        upgrade_socket,
        command: Command {
            binary: std::env::current_exe().unwrap_or_else(|_| "weir".into()),
            arguments: source.config.iter().flat_map(|path| ["--config".into(), path.into()]).collect(),
        },
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Running {
    /// Where to send what the process's signals would say.
    pub(super) fn signals(&self) -> mpsc::Sender<Signal> {
        self.control.signals()
    }

    /// Waits until the workers have drained.
    pub(super) fn wait(self) -> Exit {
        self.fleet.join();
        let served = self.control.stop();
        self.process.finish(LAST_LINES);
        // Nothing of the kernel half is attached any more.
        drop(self.stay);
        if served { Exit::Yes } else { Exit::No }
    }
}
