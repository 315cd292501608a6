//! The flow and wire groups: what TCP does on weir's connections, as [`FlowSource`] offers it.

mod programs;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_common::abi::flow::{self, Event, EventFlow};
use weir_common::abi::{Plain, wire};

use super::cgroup::{self, Home};
use super::object::Failure;
use super::probe::Obstacle;
use super::status;
use crate::config::raw::Kernel;
use crate::control::flows::source::{FlowSource, Kind};
use programs::{Flow, Sizes, Wire, records};

/// Events handed over at once: what comes meanwhile waits for the next time.
const EVENTS_MAX: usize = 65_536;
/// For so many looks at the links it is said that a connection found no room: a minute.
const FULL_TOLD: u32 = 12;

/// Both groups, whether they run or not.
pub struct Flows {
    home: Option<Home>,
    obstacle: Option<Obstacle>,
    /// Held while programs are loaded or detached, so that no two do it at once.
    loading: Mutex<Wanted>,
    flow: Mutex<Option<Flow>>,
    wire: Mutex<Option<Wire>>,
    failed: Mutex<Option<Failure>>,
    /// Lost events and refused connections of programs that are gone.
    before: Totals,
    /// Of the program that runs now.
    opened: AtomicU64,
    closed: AtomicU64,
    /// Refused connections when the links were last looked at, and for how many looks more that is said.
    full_seen: AtomicU64,
    full_told: AtomicU32,
}

#[derive(Default)]
struct Totals {
    lost: AtomicU64,
    full: AtomicU64,
}

/// What the configuration and performance mode want.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    configured: bool,
    enabled: bool,
    sizes: Sizes,
}

impl Flows {
    /// Nothing is loaded yet.
    pub(super) fn new(home: Option<Home>, obstacle: Option<Obstacle>) -> Self {
        let sizes = Sizes { flows: flow::FLOWS_MAX, ring: flow::FLOW_RING_OCTETS };
        Self {
            home,
            obstacle,
            loading: Mutex::new(Wanted { configured: false, enabled: false, sizes }),
            flow: Mutex::default(),
            wire: Mutex::default(),
            failed: Mutex::default(),
            before: Totals::default(),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            full_seen: AtomicU64::new(0),
            full_told: AtomicU32::new(0),
        }
    }

    /// Has the programs run, or not, as the configuration says. Loading takes some milliseconds.
    pub(super) fn configure(&self, kernel: &Kernel) {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let sizes = Sizes { flows: count(kernel.flows_max), ring: count(kernel.flow_ring) };
        let mut wanted = lock(&self.loading);
        (wanted.configured, wanted.sizes) = (kernel.flow, sizes);
        // Why it failed, if it did, is in the status.
        let _ = self.follow(*wanted);
    }

    /// Looks whether the programs still are attached.
    pub(super) fn verify(&self) {
        let _loading = lock(&self.loading);
        self.look_for_refusals();
        let counts = lock(&self.wire).as_ref().is_none_or(Wire::holds);
        if !counts {
            let again = self.home.as_ref().and_then(|home| Wire::load(home).ok());
            *lock(&self.wire) = again;
        }
        let held = lock(&self.flow).as_ref().is_none_or(Flow::holds);
        if !held {
            tracing::warn!("flow program was detached");
            self.unload();
            *lock(&self.failed) = Some(Failure::new("KERNEL_REFUSED", "detached by somebody else"));
        }
    }

    /// The map is full for moments, and has room again when somebody looks: what it refused is said for a while.
    fn look_for_refusals(&self) {
        let full = self.full();
        if self.full_seen.swap(full, Ordering::Relaxed) < full {
            self.full_told.store(FULL_TOLD, Ordering::Relaxed);
        } else {
            let left = self.full_told.load(Ordering::Relaxed).saturating_sub(1);
            self.full_told.store(left, Ordering::Relaxed);
        }
    }

    /// Connections that found no room, since the start.
    fn full(&self) -> u64 {
        let now = lock(&self.flow).as_ref().map_or(0, |flow| flow.count().full);
        now + self.before.full.load(Ordering::Relaxed)
    }

    /// Whether the program should run, does not, and may on another try.
    pub(super) fn falls_short(&self) -> bool {
        self.obstacle.is_none() && lock(&self.failed).is_some()
    }

    /// Tries again.
    pub(super) fn try_again(&self) {
        let wanted = lock(&self.loading);
        let _ = self.follow(*wanted);
    }

    /// Loads or unloads. The caller holds `loading`.
    fn follow(&self, wanted: Wanted) -> Result<(), String> {
        let run = wanted.configured && wanted.enabled;
        let suits = lock(&self.flow).as_ref().is_some_and(|flow| flow.sizes == wanted.sizes);
        if run && suits {
            return Ok(());
        }
        self.unload();
        *lock(&self.failed) = None;
        if !run {
            return Ok(());
        }
        match self.load(wanted.sizes) {
            Ok(flow) => {
                tracing::info!(kind = word(flow.kind()), "flow program attached");
                *lock(&self.flow) = Some(flow);
                Ok(())
            }
            Err(failure) => {
                let why = failure.why.clone();
                *lock(&self.failed) = Some(failure);
                Err(why)
            }
        }
    }

    fn unload(&self) {
        if let Some(flow) = lock(&self.flow).take() {
            let count = flow.count();
            self.before.lost.fetch_add(count.lost, Ordering::Relaxed);
            self.before.full.fetch_add(count.full, Ordering::Relaxed);
            // Its map goes with it.
            self.opened.store(0, Ordering::Relaxed);
            self.closed.store(0, Ordering::Relaxed);
        }
    }

    fn load(&self, sizes: Sizes) -> Result<Flow, Failure> {
        if let Some(obstacle) = &self.obstacle {
            return Err(Failure::new(obstacle.code(), obstacle.to_string()));
        }
        match &self.home {
            Some(home) => Flow::sock_ops(home, sizes),
            None => Flow::tracepoint(sizes),
        }
    }

    /// The status of both groups, and their warnings.
    pub(super) fn status(&self) -> (Vec<status::Group>, Vec<status::Warning>) {
        let wanted = *lock(&self.loading);
        let groups = vec![self.flow_status(wanted), self.wire_status()];
        (groups, self.warnings(wanted))
    }

    fn flow_status(&self, wanted: Wanted) -> status::Group {
        let name = "flow";
        if let Some(flow) = &*lock(&self.flow) {
            let count = flow.count();
            let open = self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed));
            // Only events tell how many there are: none may be lost, and none may be pushed out without one.
            let is_exact = count.lost == 0 && flow.kind() == Kind::SockOps;
            return status::Group {
                name,
                state: status::State::Attached,
                mode: Some(word(flow.kind())),
                why: (flow.kind() == Kind::Tracepoint).then(|| "there is no cgroup2: no round trips".to_owned()),
                programs: vec![flow.program.id],
                links: vec![status::Link { place: self.place(), mode: Some(word(flow.kind())), error: None }],
                maps: vec![status::Map {
                    name: records(flow.kind()),
                    entries: is_exact.then_some(open),
                    max: flow.sizes.flows.into(),
                    full: count.full + self.before.full.load(Ordering::Relaxed),
                }],
                is_unwanted: false,
            };
        }
        match (&*lock(&self.failed), wanted) {
            (_, Wanted { configured: false, .. }) => status::Group::unwanted(name, "kernel.flow is false"),
            (_, Wanted { enabled: false, .. }) => status::Group::unwanted(name, "performance mode is off"),
            (Some(failure), _) => status::Group::failed(name, failure.why.clone()),
            (None, _) => status::Group::off(name, "not loaded yet"),
        }
    }

    fn wire_status(&self) -> status::Group {
        let name = "wire";
        match &*lock(&self.wire) {
            None => status::Group::unwanted(name, "nobody reads the wiretap"),
            Some(wire) => status::Group {
                name,
                state: status::State::Attached,
                mode: Some("cgroup_skb"),
                programs: wire.programs.iter().map(|program| program.id).collect(),
                links: vec![status::Link { place: self.place(), mode: Some("cgroup_skb"), error: None }],
                maps: vec![status::Map { name: wire::map::WIRE, entries: None, max: wire::WIRE_MAX.into(), full: 0 }],
                ..status::Group::default()
            },
        }
    }

    fn place(&self) -> String {
        self.home.as_ref().map_or("the host".to_owned(), |home| home.dir.display().to_string())
    }

    fn warnings(&self, wanted: Wanted) -> Vec<status::Warning> {
        if !wanted.configured || !wanted.enabled {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        let mut warn = |code, hint: String| warnings.push(status::Warning { code, hint });
        match &self.home {
            _ if self.obstacle.is_some() => {}
            None => {
                warn("CGROUP2_MISSING", "mount cgroup2 for round trips and retransmissions of connections".to_owned())
            }
            Some(Home { kind: cgroup::Kind::Shared(why), dir }) => warn(
                "CGROUP_SHARED",
                format!(
                    "others' connections in {} are looked at too: give weir a cgroup of its own ({why})",
                    dir.display()
                ),
            ),
            Some(_) => {}
        }
        if let Some(failure) = &*lock(&self.failed) {
            warn(failure.code, format!("flow: {}", failure.why));
        }
        if self.full_told.load(Ordering::Relaxed) > 0 {
            let hint = "connections found no room and are measured by TCP_INFO alone: see kernel.flows_max";
            warn("KERNEL_MAP_FULL", hint.to_owned());
        }
        warnings
    }
}

impl FlowSource for Flows {
    fn kind(&self) -> Kind {
        lock(&self.flow).as_ref().map_or(Kind::None, Flow::kind)
    }

    fn drain(&self, take: &mut dyn FnMut(&Event, Option<&flow::Flow>)) {
        let mut flow = lock(&self.flow);
        let Some(flow) = &mut *flow else { return };
        for _ in 0..EVENTS_MAX {
            let Some(record) = flow.events.next() else { return };
            let Some(event) = Event::from_slice(&record) else { continue };
            let whole = EventFlow::from_slice(&record).map(|whole| whole.flow);
            match flow::Kind::of(event.kind) {
                Some(flow::Kind::Open) => self.opened.fetch_add(1, Ordering::Relaxed),
                Some(flow::Kind::Close) => self.closed.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            take(&event, whole.as_ref());
        }
    }

    fn lost(&self) -> u64 {
        let now = lock(&self.flow).as_ref().map_or(0, |flow| flow.count().lost);
        now + self.before.lost.load(Ordering::Relaxed)
    }

    fn record(&self, cookie: u64) -> Option<flow::Flow> {
        let flow = lock(&self.flow);
        let octets = flow.as_ref()?.flows.get(&cookie, 0).ok()?;
        Some(flow::Flow::from_octets(octets))
    }

    fn enable(&self, on: bool) -> Result<(), String> {
        let mut wanted = lock(&self.loading);
        wanted.enabled = on;
        if !on {
            *lock(&self.wire) = None;
        }
        self.follow(*wanted)
    }

    fn count_packets(&self, on: bool) -> Result<(), String> {
        let _wanted = lock(&self.loading);
        if !on {
            *lock(&self.wire) = None;
            return Ok(());
        }
        if lock(&self.wire).is_some() {
            return Ok(());
        }
        if let Some(obstacle) = &self.obstacle {
            return Err(obstacle.to_string());
        }
        let home = self.home.as_ref().ok_or("there is no cgroup2")?;
        let wire = Wire::load(home).map_err(|failure| failure.why)?;
        *lock(&self.wire) = Some(wire);
        Ok(())
    }

    fn packets(&self, cookie: u64) -> Option<wire::Wire> {
        let wire = lock(&self.wire);
        let octets = wire.as_ref()?.packets.get(&cookie, 0).ok()?;
        Some(wire::Wire::from_octets(octets))
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::SockOps => "sock_ops",
        Kind::Tracepoint => "tracepoint",
        Kind::None => "none",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
