//! The steer group: each new connection goes to the worker of the CPU that received it, where that is no loss.

mod slots;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, ReusePortSockArray};
use aya::programs::SkReuseport;
use weir_common::abi::steer::{GROUPS_MAX, LISTENERS_MAX, PROGRAM, SLOTS_MAX, map};
use weir_common::abi::{Endpoint, Plain};

use super::object::{self, Failure, Group};
use super::{Workers, status};
use crate::base::Instant;
use crate::config::value::KernelSteer;
use slots::{Judge, slots};

/// One worker's socket of a listener; closed as soon as the map knows it, so that it ends when the worker closes its own.
pub struct Listening {
    /// The worker.
    pub worker: usize,
    /// Where it is bound.
    pub address: SocketAddr,
    /// A duplicate.
    pub fd: OwnedFd,
}

/// The loaded group.
pub(super) struct Steer {
    object: aya::Ebpf,
    id: u32,
    groups: HashMap<MapData, <Endpoint as Plain>::Octets, u32>,
    slots: Array<MapData, u32>,
    listeners: ReusePortSockArray<MapData>,
    /// A duplicate of that map's descriptor.
    shared: OwnedFd,
    count: PerCpuArray<MapData, u64>,
    workers: usize,
    cpus: usize,
    /// Where listeners were bound when their sockets were last asked for.
    followed: Vec<SocketAddr>,
    /// Whether all workers have answered, and all their sockets are in the map.
    is_whole: bool,
    held: BTreeMap<SocketAddr, u32>,
    /// Sockets in the map.
    sockets: usize,
    /// Those that did not take the program.
    errors: BTreeMap<SocketAddr, String>,
    judge: Judge,
    steers: bool,
    filled: Vec<u32>,
}

impl Steer {
    /// Loads. Nothing is attached.
    pub(super) fn load(workers: usize) -> Result<Self, Failure> {
        let mut object = object::open(Group::Steer, &[])?;
        let id = object::load(&mut object, PROGRAM, SkReuseport::load)?.id;
        let (listeners, shared) = object::take_shared(&mut object, map::LISTENERS)?;
        Ok(Self {
            id,
            groups: object::take(&mut object, map::GROUPS)?,
            slots: object::take(&mut object, map::SLOTS)?,
            listeners,
            shared,
            count: object::take(&mut object, map::STEER_COUNT)?,
            object,
            workers,
            cpus: aya::util::nr_cpus().unwrap_or(0).min(SLOTS_MAX as usize),
            followed: Vec::new(),
            is_whole: false,
            held: BTreeMap::new(),
            sockets: 0,
            errors: BTreeMap::new(),
            judge: Judge::default(),
            steers: false,
            filled: Vec::new(),
        })
    }

    /// Has each worker's listening sockets in the map, and the program at each of their groups. Waits for workers, a
    /// little: one that stands still has its connections spread by the kernel.
    pub(super) fn follow(&mut self, workers: &dyn Workers, bound: &[SocketAddr]) {
        if self.followed == bound && self.is_whole {
            return;
        }
        self.followed = bound.to_vec();
        let (sockets, answered) = gather(workers, self.workers);
        let mut addresses: Vec<_> = sockets.iter().map(|socket| socket.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let room = (LISTENERS_MAX as usize / self.workers.max(1)).min(GROUPS_MAX as usize);
        let bases: BTreeMap<_, _> = addresses.into_iter().take(room).zip((0..).step_by(self.workers)).collect();
        self.empty(&bases);
        let missing = self.fill(&sockets, &bases);
        for (address, base) in &bases {
            let _ = self.groups.insert(Endpoint::from(*address).octets(), base, 0);
        }
        self.attach(&sockets, &bases);
        self.is_whole = answered == self.workers && missing == 0 && self.errors.is_empty();
        self.held = bases;
    }

    /// Whether some sockets are still to be asked for: a worker did not answer, or the map did not take one.
    pub(super) fn falls_short(&self) -> bool {
        !self.is_whole
    }

    /// Takes the program off all listeners, which dropping does not: it would stay for as long as they do, and their
    /// sockets, which fit one map at a time, with it.
    pub(super) fn detach(mut self, workers: &dyn Workers) {
        self.steers = false;
        self.write(Vec::new());
        self.empty(&BTreeMap::new());
        // A group that has no socket here meets empty maps: the kernel chooses.
        detach_all(workers, self.workers);
    }

    /// A duplicate of the map of sockets, for another process to take them out.
    pub(super) fn share(&self) -> std::io::Result<OwnedFd> {
        self.shared.try_clone()
    }

    /// Puts sockets in their places. How many stay out, and are chosen by the kernel's hash alone.
    fn fill(&mut self, sockets: &[Listening], bases: &BTreeMap<SocketAddr, u32>) -> usize {
        let placed = sockets.iter().filter_map(|socket| Some((socket, bases.get(&socket.address)?)));
        let (mut taken, mut refused) = (0, 0);
        for (socket, base) in placed {
            let index = base + u32::try_from(socket.worker).unwrap_or(u32::MAX);
            match self.listeners.set(index, &socket.fd.as_raw_fd(), 0) {
                Ok(()) => taken += 1,
                Err(_) => refused += 1,
            }
        }
        self.sockets = taken;
        refused
    }

    fn empty(&mut self, wanted: &BTreeMap<SocketAddr, u32>) {
        for (address, base) in &self.held {
            if !wanted.contains_key(address) {
                let _ = self.groups.remove(&Endpoint::from(*address).octets());
            }
            for worker in 0..u32::try_from(self.workers).unwrap_or(0) {
                let _ = self.listeners.clear_index(&(base + worker));
            }
        }
    }

    fn attach(&mut self, sockets: &[Listening], bases: &BTreeMap<SocketAddr, u32>) {
        self.errors.clear();
        let Some(program) = self.object.program(PROGRAM) else { return };
        let Ok(program) = <&SkReuseport>::try_from(program) else { return };
        for address in bases.keys() {
            let Some(socket) = sockets.iter().find(|socket| socket.address == *address) else { continue };
            if let Err(error) = program.attach(socket.fd.as_fd()) {
                self.errors.insert(*address, Failure::refused("attach", &error).why);
            }
        }
    }

    /// Once a second: whether connections go where they came in.
    pub(super) fn decide(&mut self, wanted: KernelSteer, cores: &[usize], workers: &dyn Workers, now: Instant) {
        let steers = match wanted {
            KernelSteer::On => true,
            KernelSteer::Off => false,
            KernelSteer::Auto => {
                let counts = self.counts();
                let map = self.map(cores, workers);
                self.judge.steers(&counts, &map, self.workers, now)
            }
        };
        if steers != self.steers {
            let how = if steers { "go to the worker of their CPU" } else { "are spread by the kernel" };
            tracing::info!("new connections {how}");
        }
        self.steers = steers;
        self.follow_stalls(cores, workers);
    }

    /// Which CPU's connections go where: as long as a worker stands still, to its neighbour.
    pub(super) fn follow_stalls(&mut self, cores: &[usize], workers: &dyn Workers) {
        let map = if self.steers { self.map(cores, workers) } else { Vec::new() };
        if map != self.filled {
            self.write(map);
        }
    }

    /// How many connections each CPU has received.
    fn counts(&self) -> Vec<u64> {
        self.count.get(&0, 0).map(|each| each.iter().copied().collect()).unwrap_or_default()
    }

    fn map(&self, cores: &[usize], workers: &dyn Workers) -> Vec<u32> {
        slots(self.cpus, cores, self.workers, |worker| workers.stalls(worker))
    }

    fn write(&mut self, map: Vec<u32>) {
        for cpu in 0..map.len().max(self.filled.len()) {
            let slot = map.get(cpu).copied().unwrap_or(weir_common::abi::steer::SLOT_EMPTY);
            let _ = self.slots.set(u32::try_from(cpu).unwrap_or(u32::MAX), slot, 0);
        }
        self.filled = map;
    }

    pub(super) fn status(&self) -> status::Group {
        let mode = if self.filled.is_empty() { "watching" } else { "steering" };
        let link = |address: &SocketAddr| {
            let error = self.errors.get(address).cloned();
            status::Link { place: address.to_string(), mode: error.is_none().then_some(mode), error }
        };
        let links: Vec<_> = self.held.keys().map(link).collect();
        let state = match links.iter().filter(|link| link.error.is_some()).count() {
            0 => status::State::Attached,
            all if all == links.len() => status::State::Failed,
            _ => status::State::Partial,
        };
        let missing = (!self.is_whole).then_some("the kernel chooses some workers' connections: not all have answered");
        let map = |name, entries: usize, max: u32| status::Map {
            name,
            entries: Some(entries as u64),
            max: max.into(),
            full: 0,
        };
        status::Group {
            name: "steer",
            state,
            mode: Some(mode),
            why: links.iter().find_map(|link| link.error.clone()).or(missing.map(str::to_owned)),
            programs: vec![self.id],
            maps: vec![map(map::GROUPS, self.held.len(), GROUPS_MAX), map(map::LISTENERS, self.sockets, LISTENERS_MAX)],
            links,
            is_unwanted: false,
        }
    }
}

/// Takes another process's program off this one's listeners, and their sockets out of its map: they fit one at a time.
/// Until a program is there again, the kernel's hash decides.
pub(super) fn take_over(listeners: MapData, workers: &dyn Workers) {
    if let Ok(mut listeners) = ReusePortSockArray::try_from(Map::ReusePortSockArray(listeners)) {
        for index in 0..LISTENERS_MAX {
            let _ = listeners.clear_index(&index);
        }
    }
    detach_all(workers, workers.count());
}

fn detach_all(workers: &dyn Workers, count: usize) {
    // Any socket speaks for its group.
    for socket in gather(workers, count).0 {
        let _ = SkReuseport::detach(socket.fd.as_fd());
    }
}

/// What the workers listen on, and how many of them have answered.
fn gather(workers: &dyn Workers, count: usize) -> (Vec<Listening>, usize) {
    let (tell, told) = mpsc::channel();
    let asked = (0..count).filter(|worker| workers.share_listeners(*worker, &tell)).count();
    drop(tell);
    let end = std::time::Instant::now() + std::time::Duration::from_millis(250);
    let (mut sockets, mut answered) = (Vec::new(), 0);
    while answered < asked {
        let left = end.saturating_duration_since(std::time::Instant::now());
        let Ok(some) = told.recv_timeout(left) else { break };
        sockets.extend(some);
        answered += 1;
    }
    (sockets, answered)
}
