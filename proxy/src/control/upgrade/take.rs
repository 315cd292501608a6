//! The side of the new process: takes everything, builds itself whole, and only then serves.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::READY_MAX;
use super::message::{Ask, FromNew, FromOld, Manifest, Places, Secret, VERSION};
use super::own::OwnSocket;
use super::talk::{LONG, Talk, may};
use crate::control::audit::Audit;
use crate::control::bans::BanList;
use crate::control::performance::PerformanceMode;
use crate::control::port::{Handed, Process, Secrets};
use crate::control::{Clock, Facts, Signal, ready};
use crate::kernel::{Home, Kernel, handover};

/// How often it is looked whether all is ready.
const LOOK: Duration = Duration::from_millis(5);
/// How long the process before may take to finish what it has, as far as anybody waits for it.
const AFTERWARDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Descriptors of a manifest; as many as a process may have on an ordinary machine.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// Why nothing was taken.
#[derive(Debug)]
pub struct NotTaken(String);

impl std::fmt::Display for NotTaken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot take over: {}", self.0)
    }
}

impl std::error::Error for NotTaken {}

/// What the process before has given.
#[derive(Debug)]
pub struct Taking {
    talk: Talk,
    manifest: Manifest,
    descriptors: Vec<Option<OwnedFd>>,
    deadline: Instant,
}

impl Taking {
    /// Takes all from the process that listens at `path`. Blocks.
    ///
    /// # Errors
    /// Nobody does, or it is not to be trusted, or has another upgrade under way.
    pub fn connect(path: &Path) -> Result<Self, NotTaken> {
        let deadline = Instant::now() + READY_MAX;
        let failed = |error: io::Error| NotTaken(format!("{}: {error}", path.display()));
        let mut talk = UnixStream::connect(path).and_then(Talk::on).map_err(failed)?;
        let (pid, uid) = talk.peer().map_err(failed)?;
        if !may(uid) {
            return Err(NotTaken(format!("process {pid} there is of user {uid}, who is neither weir's own nor root")));
        }
        // Who is refused may be so before having said anything, and the answer is there.
        let said = talk.say(&Ask::Takeover { version: VERSION }, deadline);
        let heard = talk.hear(LONG, deadline).or_else(|error| said.and(Err(error)));
        let manifest = match heard.map_err(failed)? {
            FromOld::Manifest(manifest) => *manifest,
            FromOld::Refused { why } => return Err(NotTaken(why)),
            _ => return Err(NotTaken(format!("process {pid} answers out of turn"))),
        };
        if manifest.version != VERSION || manifest.descriptors > DESCRIPTORS_MAX {
            return Err(NotTaken(format!("its manifest is of version {}, not of {VERSION}", manifest.version)));
        }
        let descriptors = talk.take(manifest.descriptors, deadline).map_err(failed)?;
        Ok(Self { talk, manifest, descriptors: descriptors.into_iter().map(Some).collect(), deadline })
    }

    /// The listeners' sockets, and keys.
    pub fn heritage(&mut self) -> (Vec<Handed>, Secrets) {
        let sockets = std::mem::take(&mut self.manifest.sockets);
        let handed = sockets.into_iter().map(|one| Handed {
            listener: one.listener.into(),
            address: one.address.into(),
            port: one.port,
            sockets: self.places(one.places),
        });
        let handed = handed.collect();
        let Manifest { sticky_key: Secret(digits), tickets: Secret(tickets), .. } = &self.manifest;
        (handed, Secrets { sticky_key: key(digits), tickets: tickets.clone().into_bytes() })
    }

    /// The lock of the state directory.
    pub fn lock(&mut self) -> Option<OwnedFd> {
        self.manifest.lock.and_then(|place| self.place(place))
    }

    /// Where the sockets were made.
    pub fn home(&self) -> Option<Home> {
        self.manifest.home.clone()
    }

    /// Says that it came to nothing.
    pub fn fail(mut self, why: &str) {
        self.tell(why);
    }

    pub(in crate::control) fn management(&mut self) -> Vec<(SocketAddr, OwnedFd)> {
        let all = std::mem::take(&mut self.manifest.management).into_iter().chain(self.manifest.metrics.take());
        let all: Vec<_> = all.collect();
        all.into_iter().filter_map(|(address, place)| Some((address, self.place(place)?))).collect()
    }

    /// The socket of this conversation, if the next one is to come there too; else it is closed, and its file, which
    /// is given back, goes once this process serves.
    pub(in crate::control) fn upgrade_socket(&mut self, wanted: Option<&Path>) -> (Option<OwnSocket>, Option<PathBuf>) {
        let Some((path, place)) = self.manifest.upgrade.take() else { return (None, None) };
        match self.place(place).filter(|_| wanted == Some(&path)) {
            Some(descriptor) => (OwnSocket::of(&path, descriptor).ok(), None),
            None => (None, Some(path)),
        }
    }

    fn kernel(&mut self) -> Option<handover::Given> {
        let (inventory, places) = self.manifest.kernel.take()?;
        Some(handover::Given { inventory, descriptors: self.places(places) })
    }

    fn places(&mut self, places: Places) -> Vec<OwnedFd> {
        self.descriptors.get_mut(places).into_iter().flatten().filter_map(Option::take).collect()
    }

    fn place(&mut self, place: usize) -> Option<OwnedFd> {
        self.descriptors.get_mut(place)?.take()
    }

    fn tell(&mut self, why: &str) {
        // Who has ended is not told.
        let _ = self.talk.say(&FromNew::Failed { why: why.to_owned() }, Instant::now() + Duration::from_secs(1));
    }
}

/// What the new process does from the moment it is built.
pub(in crate::control) struct Arrival {
    pub(in crate::control) taking: Taking,
    pub(in crate::control) facts: Arc<Facts>,
    pub(in crate::control) clock: Clock,
    pub(in crate::control) process: Arc<dyn Process>,
    pub(in crate::control) kernel: Kernel,
    pub(in crate::control) bans: Arc<BanList>,
    pub(in crate::control) performance: Arc<PerformanceMode>,
    pub(in crate::control) audit: Arc<Audit>,
    pub(in crate::control) signals: mpsc::Sender<Signal>,
    pub(in crate::control) failed: Arc<AtomicBool>,
}

/// Waits until all is ready, has the process before step aside, and serves: `begin` is for what else is served then.
/// If it fails, this process ends. Blocks until the process before has ended; runs within the runtime.
pub(in crate::control) fn arrive(mut arrival: Arrival, begin: impl FnOnce()) {
    match arrival.take_over(begin) {
        Ok(()) => arrival.see_off(),
        Err(why) => {
            tracing::error!(why, "nothing was taken over: this process ends");
            arrival.taking.tell(&why);
            arrival.failed.store(true, Ordering::Release);
            // Nobody is served here: it ends without a delay.
            (0..2).for_each(|_| arrival.signals.blocking_send(Signal::Stop).unwrap_or_default());
        }
    }
}

impl Arrival {
    fn take_over(&mut self, begin: impl FnOnce()) -> Result<(), String> {
        let deadline = self.taking.deadline;
        let failed = |error: io::Error| format!("the process before does not answer: {error}");
        let Manifest { pid, release, descriptors, .. } = &self.taking.manifest;
        tracing::info!(before = pid, release, descriptors, "taking over");
        self.wait_ready(deadline, Some("KERNEL_LINK_LOST"))?;
        self.taking.talk.say(&FromNew::Freeze, deadline).map_err(failed)?;
        let standing = match self.taking.talk.hear(LONG, deadline).map_err(failed)? {
            FromOld::Frozen { kernel } => kernel,
            other => return Err(unexpected(other)),
        };
        self.bans.read_kept();
        self.performance.read_kept();
        let given = self.taking.kernel();
        Handle::current().block_on(self.kernel.take(given, standing.unwrap_or_default()));
        self.wait_ready(deadline, None)?;
        let claimed = self.process.claimed();
        let claimed = claimed.iter().map(|(name, address)| (name.to_string(), address.to_string())).collect();
        self.taking.talk.say(&FromNew::Ready { claimed }, deadline).map_err(failed)?;
        match self.taking.talk.hear(LONG, deadline).map_err(failed)? {
            FromOld::Yours => {}
            other => return Err(unexpected(other)),
        }
        self.process.accept();
        begin();
        self.facts.freeze(false);
        // It serves, whether or not the one before is still there to hear of it.
        if let Err(error) = self.taking.talk.say(&FromNew::Serving, Instant::now() + READY_MAX) {
            tracing::warn!(error = %failed(error), "the process before is gone");
        }
        Handle::current().block_on(self.kernel.steer());
        tracing::info!(before = self.taking.manifest.pid, "this process serves now");
        Ok(())
    }

    /// Waits until every check holds, but for one that waits for what comes later.
    fn wait_ready(&self, deadline: Instant, but_for: Option<&str>) -> Result<(), String> {
        loop {
            let Some(lack) = ready::lack(&self.facts, (self.clock)(), but_for) else { return Ok(()) };
            if Instant::now() >= deadline || self.facts.draining() {
                return Err(format!("not ready in time: {lack}"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Takes what the process before has to say at its end.
    fn see_off(&mut self) {
        let deadline = Instant::now() + AFTERWARDS;
        while let Ok(said) = self.taking.talk.hear(LONG, deadline) {
            if let FromOld::Last { findings } = said {
                self.audit.add(&findings);
            }
        }
        tracing::info!(before = self.taking.manifest.pid, "the process before has ended");
    }
}

/// A key in hexadecimal digits.
fn key(digits: &str) -> Option<[u8; 32]> {
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.as_bytes().chunks(2).map(octet).collect::<Option<Vec<_>>>()?.try_into().ok()
}

fn unexpected(said: FromOld) -> String {
    match said {
        FromOld::Refused { why } => why,
        _ => "the process before answers out of turn".to_owned(),
    }
}
