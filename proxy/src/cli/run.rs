//! `weir run`: the proxy.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Exit, Source};
use crate::config::{Document, Problems};
use crate::control::log::OwnLog;
use crate::control::state::StateDir;
use crate::control::{Control, Reports, Settings, Signal, StartError, Wiring};
use crate::kernel::{Feeds, Stay, cgroup};
use crate::worker::{Fleet, Process, clock};

/// How long the access log's last lines may take to be written.
const LAST_LINES: Duration = Duration::from_secs(5);

/// `weir run [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
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
    match start(&arguments.source) {
        Ok(running) => running.wait(),
        Err(exit) => exit,
    }
}

/// Starts everything, or says why not.
pub(super) fn start(source: &Source) -> Result<Running, Exit> {
    try_start(source).map_err(|failed| match failed {
        Failed::Document(problems) => {
            eprint!("{problems}");
            Exit::of(&problems)
        }
        Failed::System(message) => {
            eprintln!("weir: {message}");
            Exit::System
        }
    })
}

fn try_start(source: &Source) -> Result<Running, Failed> {
    let document = source.load().map_err(Failed::Document)?;
    let system = |error: &dyn std::fmt::Display| Failed::System(error.to_string());
    let log = OwnLog::start(&document.log).map_err(|error| Failed::System(format!("log: cannot open: {error}")))?;
    let settings = settings(&document);
    let state = StateDir::open(document.node.state_dir.as_deref(), StateDir::of_environment().as_deref());
    let state = state.map_err(|error| system(&error))?;
    if let Some(why) = state.missing() {
        tracing::warn!(why, "no state directory: bans of the API and findings end with the process");
    }
    // Sockets keep the cgroup of their creation. Whatever fails from here on, the process leaves it again.
    let stay = cgroup::enter();
    let (reports, reported) = Reports::channel();
    let (feeds, fed) = Feeds::channel();
    let started = Process::start(source.clone(), document.workers, &settings.node_id, reports, feeds);
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

fn settings(document: &Document) -> Settings {
    Settings {
        management: document.management.listen.clone(),
        hosts: Vec::new(),
        metrics: document.metrics.listen,
        node_id: document.node.id.clone().unwrap_or_else(host_name),
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
        self.control.stop();
        self.process.finish(LAST_LINES);
        // Nothing of the kernel half is attached any more.
        drop(self.stay);
        Exit::Yes
    }
}
