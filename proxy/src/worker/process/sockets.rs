//! Listening sockets of the process: opened where a document wants them, dealt out to the workers, and kept for whatever
//! listener has their address.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Process, State};
use crate::config::value::Bind as RawBind;
use crate::config::{At, Document, Problem, raw};
use crate::control::facts::ListenerFact;
use crate::listen::{Access, Bind, Opened, SocketFile, open};
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
            && let Some(port) = state.bound.remove(&before)
        {
            tracing::info!(listener = %address.0, before = %before.0, address = %address.1, "a listener has another name");
            state.bound.insert(address, port);
        }
    }
    let wanted = addresses(document);
    let stays = |address: &Address| wanted.iter().any(|one| one.name == address.0 && one.text == address.1);
    state.bound.retain(|address, _| stays(address));
}

/// The bound socket that serves an address: its own, or that of a listener which had another name. A document wants an
/// address once, but for port 0, which is another port each time.
fn bound_as(state: &State, address: &Address) -> Option<Address> {
    if state.bound.contains_key(address) {
        return Some(address.clone());
    }
    let same = |(_, text): &&Address| is_fixed(text) && *text == address.1;
    state.bound.keys().find(same).cloned()
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
    /// Takes charge of the files of all Unix sockets that are bound, and removes those of others.
    pub(super) fn own_files(&mut self) {
        let bound = &self.bound;
        self.files.retain(|text, _| bound.keys().any(|(_, address)| address == text));
        for (_, text) in self.bound.keys() {
            if let Some(path) = text.strip_prefix("unix:") {
                self.files.entry(text.clone()).or_insert_with(|| SocketFile::of(Path::new(path)));
            }
        }
    }
}

/// Whether an address means the same socket in every document.
pub(in crate::worker) fn is_fixed(address: &str) -> bool {
    address.parse::<SocketAddr>().map_or(true, |address| address.port() != 0)
}

impl Process {
    /// Opens what is not bound yet. What fails is listed, or with `go_on` off refuses all.
    pub(super) fn open_listeners(&self, state: &State, document: &Document, go_on: bool) -> Result<Openings, Problem> {
        let (mut opened, mut failed) = (Vec::new(), HashMap::new());
        for wanted in addresses(document) {
            let address = (wanted.name, wanted.text);
            if bound_as(state, &address).is_some() {
                continue;
            }
            match open(&wanted.bind, self.mailboxes.len()) {
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

    /// Deals opened sockets out to the workers.
    pub(super) fn deal(&self, state: &mut State, opened: Vec<(Address, Opened)>) {
        for ((listener, address), opened) in opened {
            let port = match &opened.bind {
                Bind::Tcp(address) => address.port(),
                Bind::Unix { .. } => 0,
            };
            tracing::info!(%listener, address = %opened.bind, "listening");
            state.bound.insert((listener.clone(), address.clone()), port);
            for (hand, fd) in state.hands.iter_mut().zip(opened.sockets) {
                hand.sockets.push(NewSocket { listener: listener.clone(), address: address.clone(), port, fd });
            }
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
        let on_tcp = |((name, address), port): (&Address, &u16)| {
            let address: SocketAddr = address.parse().ok()?;
            Some((SocketAddr::new(address.ip(), *port), name.to_string()))
        };
        let mut on_tcp: Vec<_> = state.bound.iter().filter_map(on_tcp).collect();
        on_tcp.sort_unstable();
        self.facts.set_bound(on_tcp);
        self.facts.set_listeners(bound.chain(unbound).collect());
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
