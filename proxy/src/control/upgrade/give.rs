//! The side of the process that serves: starts the next one, gives it everything, and stops accepting once it serves.

mod manifest;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use super::message::{Ask, FromNew, FromOld, Outcome, VERSION};
use super::own::OwnSocket;
use super::talk::{LONG, SHORT, Talk, may};
use super::{Command, Phase, READY_MAX, given};
use crate::control::Facts;
use crate::control::audit::Audit;
use crate::control::notify::Notify;
use crate::control::port::{Kept, Process};
use crate::control::state::StateDir;
use crate::kernel::{Home, Kernel};

/// Conversations at once.
const CONVERSATIONS_MAX: usize = 8;
/// How long whoever connects may take to say what it wants.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// From this side's last word to the other's: it only has to begin to accept.
const BEGIN_MAX: Duration = Duration::from_secs(10);
/// How long a process that has failed may take to end by itself.
const END_MAX: Duration = Duration::from_secs(2);
/// How often it is looked how far the next process is.
const LOOK: Duration = Duration::from_millis(5);
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// What the giving side is made of.
pub(in crate::control) struct Parts {
    /// How to start another binary.
    pub(in crate::control) command: Command,
    pub(in crate::control) facts: Arc<Facts>,
    pub(in crate::control) process: Arc<dyn Process>,
    pub(in crate::control) state: Arc<StateDir>,
    pub(in crate::control) audit: Arc<Audit>,
    pub(in crate::control) kernel: Kernel,
    pub(in crate::control) home: Option<Home>,
    /// Duplicates of the management API's sockets.
    pub(in crate::control) management: Vec<(SocketAddr, OwnedFd)>,
    /// Of that of the metrics.
    pub(in crate::control) metrics: Option<(SocketAddr, OwnedFd)>,
    pub(in crate::control) notify: Arc<Notify>,
    pub(in crate::control) phase: watch::Sender<Phase>,
}

/// The giving side.
pub(in crate::control) struct Giver {
    parts: Parts,
    /// Where the next process finds this one, and a duplicate of that socket.
    own: Option<(PathBuf, OwnedFd)>,
    /// That socket is another process's too, until this one serves.
    is_taken: bool,
    /// Held while a binary that this process has started gets ready.
    starting: Mutex<()>,
    /// Held while descriptors are given.
    giving: Mutex<()>,
    turn: Mutex<Turn>,
    /// The conversation with the process that serves now.
    after: Mutex<Option<Talk>>,
}

/// One upgrade.
#[derive(Default)]
struct Turn {
    /// When it must be ready.
    deadline: Option<Instant>,
    /// It is ready, and about to serve: no deadline counts any more.
    is_ready: bool,
    /// How the conversation ended.
    ended: Option<Result<u32, String>>,
}

impl Giver {
    /// Nothing is listened on yet. `own` is where it will be.
    pub(in crate::control) fn new(parts: Parts, own: Option<&OwnSocket>) -> Arc<Self> {
        let share = |own: &OwnSocket| Some((own.path.clone(), OwnedFd::from(own.listener.try_clone().ok()?)));
        Arc::new(Self {
            parts,
            own: own.and_then(share),
            is_taken: own.is_some_and(|own| own.is_taken),
            starting: Mutex::default(),
            giving: Mutex::default(),
            turn: Mutex::default(),
            after: Mutex::default(),
        })
    }

    /// Answers until another process serves. `wishes` are those of USR2.
    pub(in crate::control) async fn run(self: Arc<Self>, own: Option<OwnSocket>, mut wishes: mpsc::Receiver<()>) {
        let listener = own.and_then(|own| UnixListener::from_std(own.listener).ok());
        let slots = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
        let mut phase = self.parts.phase.subscribe();
        loop {
            tokio::select! {
                stream = accept(listener.as_ref()) => {
                    let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                    let own = Arc::clone(&self);
                    tokio::task::spawn_blocking(move || {
                        own.converse(stream);
                        drop(slot);
                    });
                }
                Some(()) = wishes.recv() => {
                    let own = Arc::clone(&self);
                    tokio::task::spawn_blocking(move || own.upgrade(None));
                }
                () = given(&mut phase) => return,
            }
        }
    }

    /// The process ends: nobody is to connect any more, and whoever serves now learns what is left to tell. Has it
    /// `served`?
    pub(in crate::control) fn finish(&self, findings: Vec<String>, served: bool) {
        let after = lock(&self.after).take();
        match (after, &self.own) {
            (Some(mut talk), _) => {
                let told = talk.say(&FromOld::Last { findings }, Instant::now() + END_MAX);
                told.unwrap_or_else(|error| tracing::warn!(%error, "the last findings are lost"));
            }
            (None, Some((path, _))) if served || !self.is_taken => OwnSocket::remove(path),
            _ => {}
        }
    }

    fn converse(&self, stream: UnixStream) {
        let talk = stream.into_std().and_then(Talk::on);
        let answered = talk.and_then(|mut talk| {
            let (pid, uid) = talk.peer()?;
            let deadline = Instant::now() + FIRST_WORD;
            if !may(uid) {
                tracing::warn!(pid, uid, "a process of another user asked at upgrade_socket, and was refused");
                return talk.say(&not_allowed(uid), deadline);
            }
            match talk.hear(SHORT, deadline)? {
                Ask::Upgrade { binary } => {
                    let outcome = self.upgrade(binary);
                    talk.say(&outcome, Instant::now() + FIRST_WORD)
                }
                Ask::Takeover { version } => {
                    self.give(talk, pid, version);
                    Ok(())
                }
            }
        });
        answered.unwrap_or_else(|error| tracing::warn!(%error, "a conversation at upgrade_socket has failed"));
    }

    /// Starts a binary and waits until it serves, or does not.
    fn upgrade(&self, binary: Option<PathBuf>) -> Outcome {
        let Ok(_starting) = self.starting.try_lock() else {
            return Outcome::Failed { why: "an upgrade is under way already".to_owned() };
        };
        let binary = binary.unwrap_or_else(|| self.parts.command.binary.clone());
        tracing::info!(binary = %binary.display(), "upgrade begins");
        let outcome =
            self.begin(&binary).map_or_else(|why| Outcome::Failed { why }, |child| self.attend(child, &binary));
        match &outcome {
            Outcome::Done { pid, .. } => tracing::info!(pid, "another process serves; this one finishes what it has"),
            Outcome::Failed { why } | Outcome::Late { why } => {
                why.lines()
                    .for_each(|line| tracing::error!(why = line, "the upgrade has failed: this process serves on"));
            }
            Outcome::NotAllowed { .. } => {}
        }
        outcome
    }

    fn begin(&self, binary: &Path) -> Result<Child, String> {
        let (path, _) = self.own.as_ref().ok_or("there is no upgrade_socket, which the next process would need")?;
        if self.ends() {
            return Err("this process ends".to_owned());
        }
        *lock(&self.turn) = Turn { deadline: Some(Instant::now() + READY_MAX), ..Turn::default() };
        let mut takeover = std::ffi::OsString::from("--takeover=");
        takeover.push(path);
        let mut command = std::process::Command::new(binary);
        command.arg("run").arg(takeover).args(&self.parts.command.arguments).stdin(Stdio::null());
        // It names this process; without it the watchdog is fed by whoever is the main one.
        command.env_remove("WATCHDOG_PID");
        command.spawn().map_err(|error| format!("cannot start {}: {error}", binary.display()))
    }

    /// Waits for a process that was started. It serves, or it has ended when this comes back.
    fn attend(&self, mut child: Child, binary: &Path) -> Outcome {
        let pid = child.id();
        loop {
            if let Some(ended) = lock(&self.turn).ended.take() {
                return match ended {
                    Ok(pid) => Outcome::Done { pid, before: std::process::id() },
                    Err(why) => {
                        end(child, END_MAX);
                        Outcome::Failed { why }
                    }
                };
            }
            if let Ok(Some(status)) = child.try_wait() {
                // Its last word may still be on its way.
                drop(lock(&self.giving));
                let said = lock(&self.turn).ended.take();
                return match said {
                    Some(Ok(pid)) => Outcome::Done { pid, before: std::process::id() },
                    Some(Err(why)) => Outcome::Failed { why },
                    None => Outcome::Failed { why: format!("{}: {status} before it was ready", binary.display()) },
                };
            }
            let is_late = {
                let turn = lock(&self.turn);
                !turn.is_ready && turn.deadline.is_some_and(|deadline| Instant::now() >= deadline)
            };
            if is_late {
                end(child, Duration::ZERO);
                drop(lock(&self.giving));
                let seconds = READY_MAX.as_secs();
                return Outcome::Late { why: format!("process {pid} was not ready within {seconds} s, and was ended") };
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Gives all there is to the process at the other end, and stops once it serves.
    fn give(&self, mut talk: Talk, pid: u32, version: u32) {
        let Ok(_giving) = self.giving.try_lock() else {
            let why = "another process takes over already".to_owned();
            return drop(talk.say(&FromOld::Refused { why }, Instant::now() + FIRST_WORD));
        };
        if self.ends() {
            let why = "this process ends".to_owned();
            return drop(talk.say(&FromOld::Refused { why }, Instant::now() + FIRST_WORD));
        }
        tracing::info!(pid, "a process takes over");
        let deadline = lock(&self.turn).deadline.filter(|end| *end > Instant::now());
        let deadline = deadline.unwrap_or_else(|| Instant::now() + READY_MAX);
        self.parts.phase.send_replace(Phase::Giving);
        let given = self.hand_over(&mut talk, version, deadline);
        let mut turn = lock(&self.turn);
        turn.deadline = None;
        turn.ended = Some(match given {
            Ok(kept) => {
                self.parts.notify.say(&format!("MAINPID={pid}"));
                *lock(&self.after) = Some(talk);
                self.parts.phase.send_replace(Phase::Given { pid, kept });
                Ok(pid)
            }
            Err(why) => {
                tracing::warn!(pid, why, "the process did not take over: this one serves on");
                let _ = talk.say(&FromOld::Refused { why: why.clone() }, Instant::now() + FIRST_WORD);
                self.thaw();
                self.parts.phase.send_replace(Phase::Serving);
                Err(why)
            }
        });
    }

    fn hand_over(&self, talk: &mut Talk, version: u32, deadline: Instant) -> Result<Kept, String> {
        if version != VERSION {
            return Err(format!("it reads manifests of version {version}, not of {VERSION}"));
        }
        let failed = |error: io::Error| format!("no answer: {error}");
        let (manifest, descriptors) = self.manifest().map_err(|error| format!("cannot be given: {error}"))?;
        talk.say(&FromOld::Manifest(Box::new(manifest)), deadline).map_err(failed)?;
        let borrowed: Vec<_> = descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
        talk.give(&borrowed, deadline).map_err(failed)?;
        match talk.hear(SHORT, deadline).map_err(failed)? {
            FromNew::Freeze => {}
            other => return Err(unexpected(other)),
        }
        let kernel = self.freeze();
        talk.say(&FromOld::Frozen { kernel }, deadline).map_err(failed)?;
        let claimed = match talk.hear(LONG, deadline).map_err(failed)? {
            FromNew::Ready { claimed } => claimed,
            other => return Err(unexpected(other)),
        };
        if self.parts.facts.draining() {
            return Err("the process that serves was told to end".to_owned());
        }
        lock(&self.turn).is_ready = true;
        let deadline = Instant::now() + BEGIN_MAX;
        talk.say(&FromOld::Yours, deadline).map_err(failed)?;
        match talk.hear(SHORT, deadline).map_err(failed)? {
            FromNew::Serving => {}
            other => return Err(unexpected(other)),
        }
        let claimed = claimed.into_iter().map(|(name, address)| (name.into(), address.into()));
        Ok(Arc::new(claimed.collect()))
    }

    /// Whether there is nothing to give any more.
    fn ends(&self) -> bool {
        self.parts.facts.draining() || matches!(*self.parts.phase.borrow(), Phase::Given { .. })
    }

    /// From here on nothing is written, nothing is denied in the kernel, and the API changes nothing.
    fn freeze(&self) -> Option<crate::kernel::handover::Standing> {
        self.parts.facts.freeze(true);
        self.parts.audit.release();
        Handle::current().block_on(self.parts.kernel.freeze())
    }

    /// All as before.
    fn thaw(&self) {
        if self.parts.facts.is_frozen() {
            Handle::current().block_on(self.parts.kernel.thaw());
            self.parts.facts.freeze(false);
        }
    }
}

/// The next connection; none where nothing is listened on.
async fn accept(listener: Option<&UnixListener>) -> UnixStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "upgrade_socket: connection not accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// For either kind of asker: it has not said yet which it is.
fn not_allowed(uid: u32) -> serde_json::Value {
    let why = format!("user {uid} is neither weir's own nor root");
    serde_json::json!({ "result": "not_allowed", "uid": uid, "say": "refused", "why": why })
}

fn unexpected(said: FromNew) -> String {
    match said {
        FromNew::Failed { why } => why,
        other => format!("it said {other:?} out of turn"),
    }
}

/// Ends a process that did not take over, if it does not by itself.
fn end(mut child: Child, within: Duration) {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(LOOK);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the socket, or says why there is none, which fails nothing but upgrades.
pub(in crate::control) fn open(path: Option<&Path>, facts: &Facts) -> Option<OwnSocket> {
    let path = path?;
    match OwnSocket::open(path) {
        Ok(own) => Some(own),
        Err(error) => {
            let why = format!("{}: {error}", path.display());
            tracing::warn!(why, "no upgrade socket: this process can be restarted, but not upgraded");
            facts.warn(super::SOCKET_MISSING, Some(format!("{why}; set upgrade_socket, or make its directory")));
            None
        }
    }
}
