//! The flow and wire groups: what TCP does on weir's connections, as [`FlowSource`] offers it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Btf;
use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, CgroupSkb, SockOps};
use weir_common::abi::flow::{self, Event, EventFlow, FlowCount};
use weir_common::abi::{Plain, wire};

use super::cgroup::{self, Home};
use super::object::{self, Failure, Group, Loaded};
use super::probe::Obstacle;
use super::status;
use super::sys::{self, Hook};
use crate::config::raw::Kernel;
use crate::control::flows::source::{FlowSource, Kind};

type Octets<T> = <T as Plain>::Octets;

/// Events handed over at once: what comes meanwhile waits for the next time.
const EVENTS_MAX: usize = 65_536;

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
    opened: AtomicU64,
    closed: AtomicU64,
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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sizes {
    flows: u32,
    ring: u32,
}

/// What keeps the program where it is.
enum Held {
    Cgroup(OwnedFd),
    Tracepoint { _link: BtfTracePointLink },
}

struct Flow {
    held: Held,
    sizes: Sizes,
    program: Loaded,
    flows: HashMap<MapData, u64, Octets<flow::Flow>>,
    events: RingBuf<MapData>,
    count: PerCpuArray<MapData, Octets<FlowCount>>,
}

struct Wire {
    programs: [Loaded; 2],
    _links: [OwnedFd; 2],
    packets: HashMap<MapData, u64, Octets<wire::Wire>>,
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

    /// Looks whether the program still is attached.
    pub(super) fn verify(&self) {
        let _loading = lock(&self.loading);
        let held = lock(&self.flow).as_ref().is_none_or(|flow| flow.holds());
        if !held {
            tracing::warn!("flow program was detached");
            self.unload();
            *lock(&self.failed) = Some(Failure::new("KERNEL_REFUSED", "detached by somebody else"));
        }
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
            let open = self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed));
            let full = flow.count().full + self.before.full.load(Ordering::Relaxed);
            return status::Group {
                name,
                state: status::State::Attached,
                mode: Some(word(flow.kind())),
                why: (flow.kind() == Kind::Tracepoint).then(|| "there is no cgroup2: no round trips".to_owned()),
                programs: vec![flow.program.id],
                links: vec![status::Link { place: self.place(), mode: Some(word(flow.kind())), error: None }],
                maps: vec![status::Map {
                    name: flow::map::FLOWS,
                    entries: Some(open),
                    max: flow.sizes.flows.into(),
                    full,
                }],
            };
        }
        match (&*lock(&self.failed), wanted) {
            (_, Wanted { configured: false, .. }) => status::Group::off(name, "kernel.flow is false"),
            (_, Wanted { enabled: false, .. }) => status::Group::off(name, "performance mode is off"),
            (Some(failure), _) => status::Group::failed(name, failure.why.clone()),
            (None, _) => status::Group::off(name, "not loaded yet"),
        }
    }

    fn wire_status(&self) -> status::Group {
        let name = "wire";
        match &*lock(&self.wire) {
            None => status::Group::off(name, "nobody reads the wiretap"),
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
        warnings
    }
}

impl Flow {
    fn sock_ops(home: &Home, sizes: Sizes) -> Result<Self, Failure> {
        let mut object = object::open(Group::Flow, &sizes.entries())?;
        let program = object::load(&mut object, flow::PROGRAM, SockOps::load)?;
        let link = cgroup_link(home, &program, Hook::SockOps)?;
        Self::take(Held::Cgroup(link), sizes, program, &mut object)
    }

    fn tracepoint(sizes: Sizes) -> Result<Self, Failure> {
        let btf = Btf::from_sys_fs().map_err(|error| Failure::new("BTF_MISSING", error.to_string()))?;
        let mut object = object::open(Group::Flow, &sizes.entries())?;
        let name = flow::PROGRAM_FALLBACK;
        let program =
            object::load(&mut object, name, |program: &mut BtfTracePoint| program.load("inet_sock_set_state", &btf))?;
        let refused = |error: &dyn std::error::Error| Failure::refused(name, error);
        let attached: &mut BtfTracePoint = object
            .program_mut(name)
            .ok_or_else(|| Failure::new("KERNEL_REFUSED", "no such program"))?
            .try_into()
            .map_err(|error: aya::programs::ProgramError| refused(&error))?;
        let id = attached.attach().map_err(|error| refused(&error))?;
        let link = attached.take_link(id).map_err(|error| refused(&error))?;
        Self::take(Held::Tracepoint { _link: link }, sizes, program, &mut object)
    }

    fn take(held: Held, sizes: Sizes, program: Loaded, object: &mut aya::Ebpf) -> Result<Self, Failure> {
        Ok(Self {
            held,
            sizes,
            program,
            flows: object::take(object, flow::map::FLOWS)?,
            events: object::take(object, flow::map::FLOW_EVENTS)?,
            count: object::take(object, flow::map::FLOW_COUNT)?,
        })
    }

    /// A tracepoint stays; a cgroup's program may be detached, or the cgroup be removed.
    fn holds(&self) -> bool {
        match &self.held {
            Held::Cgroup(link) => sys::link_holds(link.as_fd()).unwrap_or(false),
            Held::Tracepoint { .. } => true,
        }
    }

    fn kind(&self) -> Kind {
        match self.held {
            Held::Cgroup(_) => Kind::SockOps,
            Held::Tracepoint { .. } => Kind::Tracepoint,
        }
    }

    fn count(&self) -> FlowCount {
        let each = self.count.get(&0, 0);
        let each = each.iter().flat_map(|each| each.iter()).map(|octets| FlowCount::from_octets(*octets));
        each.fold(FlowCount::default(), |sum, one| FlowCount { lost: sum.lost + one.lost, full: sum.full + one.full })
    }
}

impl Sizes {
    fn entries(self) -> [(&'static str, u32); 2] {
        [(flow::map::FLOWS, self.flows), (flow::map::FLOW_EVENTS, self.ring)]
    }
}

/// Attaches to weir's cgroup, alone at its hook: with no flags, which is what a link to a cgroup takes.
fn cgroup_link(home: &Home, program: &Loaded, hook: Hook) -> Result<OwnedFd, Failure> {
    let failed = |error: std::io::Error| Failure::new("KERNEL_REFUSED", format!("{}: {error}", home.dir.display()));
    let dir = std::fs::File::open(&home.dir).map_err(failed)?;
    let target = dir.as_raw_fd().unsigned_abs();
    sys::link_create(program.fd.as_fd(), target, hook, 0).map_err(failed)
}

impl Wire {
    fn load(home: &Home) -> Result<Self, Failure> {
        let mut object = object::open(Group::Wire, &[])?;
        let programs = [
            object::load(&mut object, wire::PROGRAM_IN, CgroupSkb::load)?,
            object::load(&mut object, wire::PROGRAM_OUT, CgroupSkb::load)?,
        ];
        let links =
            [cgroup_link(home, &programs[0], Hook::CgroupIn)?, cgroup_link(home, &programs[1], Hook::CgroupOut)?];
        Ok(Self { programs, _links: links, packets: object::take(&mut object, wire::map::WIRE)? })
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
