//! Listening sockets of the process: opened where a document wants them, dealt out to the workers, and kept for whatever
//! listener has their address.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Process, State};
use crate::config::value::Bind as RawBind;
use crate::config::{At, Document, Problem, raw};
use crate::control::facts::ListenerFact;
use crate::control::port::{Handed, Kept};
use crate::listen::{Access, Bind, BindError, Opened, SocketFile, begin, join, open};
use crate::worker::NewSocket;

/// A bound address of a listener: its name, the address as the document writes it.
pub(super) type Address = (Arc<str>, Arc<str>);
/// Files of Unix listeners, by their address.
pub(super) type SocketFiles = HashMap<Arc<str>, SocketFile>;
/// What could be opened, and why the rest could not.
type Openings = (Vec<(Address, Opened)>, HashMap<Address, String>);

/// What a new document makes of the bound sockets: those whose listener has another name now follow it, those that it
/// does not want are forgotten.
pub(super) fn follow(state: &mut State, document: &Document) {
    for wanted in addresses(document) {
        let address = (wanted.name, wanted.text);
        if let Some(before) = bound_as(state, &address).filter(|before| *before != address)
            && let Some(held) = state.bound.remove(&before)
        {
            tracing::info!(listener = %address.0, before = %before.0, address = %address.1, "a listener has another name");
            state.bound.insert(address, held);
        }
    }
    let wanted = addresses(document);
    let stays = |address: &Address| wanted.iter().any(|one| one.name == address.0 && one.text == address.1);
    state.bound.retain(|address, _| stays(address));
}

/// The bound socket that serves an address: its own, or that of a listener which had another name. A document wants an
/// address once, but for port 0, which is another port each time.
fn bound_as(state: &State, address: &Address) -> Option<Address> {
    known_as(state.bound.keys(), address)
}

/// The one of `known` that an address means.
fn known_as<'a>(mut known: impl Iterator<Item = &'a Address> + Clone, address: &Address) -> Option<Address> {
    let same = |(_, text): &&Address| is_fixed(text) && *text == address.1;
    known.clone().find(|one| *one == address).or_else(|| known.find(same)).cloned()
}

/// What a new document makes of the files of Unix sockets that are bound already.
pub(super) struct NewAccess(Vec<(PathBuf, Access)>);

/// Who may connect to the Unix sockets that are bound already.
pub(super) fn access(state: &State, document: &Document) -> Result<NewAccess, Problem> {
    let mut changes = Vec::new();
    for wanted in addresses(document) {
        let Bind::Unix { path, mode, owner, group } = &wanted.bind else { continue };
        if bound_as(state, &(wanted.name, wanted.text)).is_some() {
            let access = Access::new(*mode, owner.as_deref(), group.as_deref());
            let access = access.map_err(|error| wanted.at.problem("owner", format!("owner, group: {error}")))?;
            changes.push((path.clone(), access));
        }
    }
    Ok(NewAccess(changes))
}

impl NewAccess {
    /// Changes them. The sockets serve on whatever comes of it.
    pub(super) fn change(self) {
        for (path, access) in self.0 {
            if let Err(error) = access.change(&path) {
                tracing::warn!(path = %path.display(), %error, "the socket file's mode, owner or group stays as it was");
            }
        }
    }
}

impl State {
    /// Takes charge of the files of all Unix sockets that are bound, and removes those of others. While another process
    /// serves, what came from it is still that one's.
    pub(super) fn own_files(&mut self) {
        let bound = &self.bound;
        self.files.retain(|text, _| bound.keys().any(|(_, address)| address == text));
        for (_, text) in self.bound.keys().filter(|(_, text)| !self.inherited.lends(text)) {
            if let Some(path) = text.strip_prefix("unix:") {
                self.files.entry(text.clone()).or_insert_with(|| SocketFile::of(Path::new(path)));
            }
        }
    }

    /// Leaves the files of these addresses to the process that goes on with them.
    pub(super) fn leave_files(&mut self, kept: &Kept) {
        let left = self.files.extract_if(|text, _| kept.iter().any(|(_, address)| address == text));
        left.for_each(|(_, file)| file.leave());
    }
}

/// Whether an address means the same socket in every document.
pub(in crate::worker) fn is_fixed(address: &str) -> bool {
    address.parse::<SocketAddr>().map_or(true, |address| address.port() != 0)
}

impl Process {
    /// Opens what is not bound yet. What fails is listed, or with `go_on` off refuses all.
    pub(super) fn open_listeners(
        &self,
        state: &mut State,
        document: &Document,
        go_on: bool,
    ) -> Result<Openings, Problem> {
        let (mut opened, mut failed) = (Vec::new(), HashMap::new());
        for wanted in addresses(document) {
            let address = (wanted.name, wanted.text);
            if bound_as(state, &address).is_some() {
                continue;
            }
            let taken = state.inherited.take(&address);
            let one = taken.map_or_else(|| open(&wanted.bind, self.mailboxes.len()), |handed| self.complete(handed));
            match one {
                Ok(one) => opened.push((address, one)),
                Err(error) if go_on => {
                    if !state.unbound.contains_key(&address) {
                        tracing::error!(listener = %address.0, "{error}; it is tried again each second");
                    }
                    failed.insert(address, error.to_string());
                }
                Err(error) => return Err(wanted.at.problem("bind", error.to_string())),
            }
        }
        Ok((opened, failed))
    }

    /// As many sockets as there are workers, of those that came from another process: an unclaimed one would swallow
    /// connections, so that none is left out where there are more.
    fn complete(&self, handed: Handed) -> Result<Opened, BindError> {
        let Handed { address, port, mut sockets, .. } = handed;
        match address.parse::<SocketAddr>() {
            Ok(address) => {
                let address = SocketAddr::new(address.ip(), port);
                sockets.extend(join(address, self.mailboxes.len().saturating_sub(sockets.len()))?);
                Ok(Opened { bind: Bind::Tcp(address), sockets })
            }
            Err(_) => {
                let path = address.trim_start_matches("unix:").into();
                Ok(Opened { bind: Bind::Unix { path, mode: 0, owner: None, group: None }, sockets })
            }
        }
    }

    /// Notes opened sockets, and deals them out, unless another process still serves.
    pub(super) fn bound(&self, state: &mut State, opened: Vec<(Address, Opened)>) {
        for (address, opened) in opened {
            state.bound.insert(address.clone(), Held::of(&opened));
            if let Some(opened) = state.inherited.hold(&address, opened) {
                self.deal(state, address, opened, false);
            }
        }
    }

    /// Deals sockets out to the workers: the i-th to worker i modulo their number, one for all to each of them.
    pub(super) fn deal(&self, state: &mut State, (listener, address): Address, opened: Opened, taken: bool) {
        let Opened { bind, mut sockets } = opened;
        tracing::info!(%listener, address = %bind, "listening");
        let (workers, port) = (state.hands.len(), port(&bind));
        if matches!(bind, Bind::Unix { .. }) {
            let more =
                sockets.first().map(|first| (sockets.len()..workers).map_while(|_| first.try_clone().ok()).collect());
            sockets.extend::<Vec<_>>(more.unwrap_or_default());
        }
        if taken {
            // Those that were added listen only now: before, the other process could not have had their connections.
            sockets.retain(|socket| match begin(socket) {
                Ok(()) => true,
                Err(error) => {
                    tracing::warn!(%listener, address = %bind, %error, "one socket less");
                    false
                }
            });
        }
        for (at, fd) in sockets.into_iter().enumerate() {
            let socket = NewSocket { listener: listener.clone(), address: address.clone(), port, taken, fd };
            state.hands[at % workers].sockets.push(socket);
        }
    }

    pub(super) fn tell_listeners(&self, state: &State) {
        let fact = |(name, address): &Address, error: Option<String>| ListenerFact {
            name: name.to_string(),
            address: address.to_string(),
            error,
        };
        let bound = state.bound.keys().map(|address| fact(address, None));
        let unbound = state.unbound.iter().map(|(address, error)| fact(address, Some(error.clone())));
        let on_tcp = |((name, address), held): (&Address, &Held)| {
            let address: SocketAddr = address.parse().ok()?;
            Some((SocketAddr::new(address.ip(), held.port), name.to_string()))
        };
        let mut on_tcp: Vec<_> = state.bound.iter().filter_map(on_tcp).collect();
        on_tcp.sort_unstable();
        self.facts.set_bound(on_tcp);
        self.facts.set_listeners(bound.chain(unbound).collect());
    }
}

fn port(bind: &Bind) -> u16 {
    match bind {
        Bind::Tcp(address) => address.port(),
        Bind::Unix { .. } => 0,
    }
}

/// What the process itself keeps of a bound address: a worker that stands still is not asked for its sockets when
/// another process takes over.
pub(super) struct Held {
    /// The kernel's choice where 0 was asked; 0 for a Unix socket.
    port: u16,
    /// Duplicates; none any more once the process drains, or if there was no descriptor left for them.
    pub(super) sockets: Vec<OwnedFd>,
}

impl Held {
    fn of(opened: &Opened) -> Self {
        let count = if matches!(opened.bind, Bind::Unix { .. }) { 1 } else { opened.sockets.len() };
        let sockets: io::Result<_> = opened.sockets.iter().take(count).map(OwnedFd::try_clone).collect();
        Self { port: port(&opened.bind), sockets: sockets.unwrap_or_default() }
    }

    /// Duplicates for another process.
    pub(super) fn share(&self, (listener, address): &Address) -> io::Result<Handed> {
        let sockets: Vec<_> = self.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        if sockets.is_empty() {
            return Err(io::Error::other(format!("the sockets of {address} are not at hand")));
        }
        Ok(Handed { listener: listener.clone(), address: address.clone(), port: self.port, sockets })
    }
}

/// Sockets that another process has given, until this one serves.
#[derive(Default)]
pub(super) struct Inherited {
    /// By the names that they came with; those that a listener has are taken out.
    sockets: HashMap<Address, Handed>,
    /// Those names of the ones taken out.
    claimed: BTreeSet<Address>,
    /// Opened and not accepted on, as the process before still does; none: this process serves.
    waiting: Option<Vec<(Address, Opened)>>,
}

impl Inherited {
    pub(super) fn of(sockets: Vec<Handed>) -> Self {
        let named = |handed: Handed| ((handed.listener.clone(), handed.address.clone()), handed);
        Self { sockets: sockets.into_iter().map(named).collect(), claimed: BTreeSet::new(), waiting: Some(Vec::new()) }
    }

    /// Whether another process still serves.
    pub(super) fn is_any(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether an address is one that the other process still serves.
    fn lends(&self, text: &str) -> bool {
        self.is_any() && self.claimed.iter().any(|(_, address)| **address == *text)
    }

    /// The sockets of an address, under its own name or another.
    fn take(&mut self, address: &Address) -> Option<Handed> {
        let named = known_as(self.sockets.keys(), address)?;
        let handed = self.sockets.remove(&named)?;
        self.claimed.insert(named);
        Some(handed)
    }

    /// Keeps what is opened for later; gives it back where there is nothing to wait for.
    fn hold(&mut self, address: &Address, opened: Opened) -> Option<Opened> {
        match &mut self.waiting {
            Some(waiting) => {
                waiting.push((address.clone(), opened));
                None
            }
            None => Some(opened),
        }
    }

    pub(super) fn claimed(&self) -> Kept {
        self.claimed.clone().into()
    }

    /// What is to be accepted on from now on. The rest is closed.
    pub(super) fn release(&mut self) -> Vec<(Address, Opened)> {
        self.sockets.clear();
        self.waiting.take().unwrap_or_default()
    }
}

/// One address that a document listens on.
struct Wanted {
    name: Arc<str>,
    text: Arc<str>,
    bind: Bind,
    at: At,
}

/// All addresses that a document listens on.
fn addresses(document: &Document) -> Vec<Wanted> {
    let enabled = document.listeners.iter().filter(|listener| listener.enabled);
    let of = |listener: &raw::Listener| {
        let name: Arc<str> = listener.name.as_str().into();
        let bind = |raw: &RawBind| match raw {
            RawBind::Tcp(address) => Bind::Tcp(*address),
            RawBind::Unix(path) => Bind::Unix {
                path: path.clone(),
                mode: listener.mode,
                owner: listener.owner.clone(),
                group: listener.group.clone(),
            },
        };
        let wanted = |raw: &RawBind| Wanted {
            name: name.clone(),
            text: raw.to_string().into(),
            bind: bind(raw),
            at: listener.at.clone(),
        };
        listener.bind.iter().map(wanted).collect::<Vec<_>>()
    };
    enabled.flat_map(of).collect()
}
