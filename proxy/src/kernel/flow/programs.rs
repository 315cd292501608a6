//! The programs of both groups, loaded and attached, with the maps that are read.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::Btf;
use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, CgroupSkb, SockOps};
use weir_common::abi::flow::{self, FlowCount};
use weir_common::abi::{Plain, wire};

use crate::control::flows::source::Kind;
use crate::kernel::cgroup::Home;
use crate::kernel::object::{self, Failure, Group, Loaded};
use crate::kernel::sys::{self, Hook};

type Octets<T> = <T as Plain>::Octets;

/// Sizes of maps, which only a new load changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    pub(super) flows: u32,
    pub(super) ring: u32,
}

/// What keeps the program where it is.
pub(super) enum Held {
    Cgroup(OwnedFd),
    Tracepoint { _link: BtfTracePointLink },
}

/// The running flow program.
pub(super) struct Flow {
    held: Held,
    pub(super) sizes: Sizes,
    pub(super) program: Loaded,
    pub(super) flows: HashMap<MapData, u64, Octets<flow::Flow>>,
    pub(super) events: RingBuf<MapData>,
    count: PerCpuArray<MapData, Octets<FlowCount>>,
}

/// The running pair that counts packets.
pub(super) struct Wire {
    pub(super) programs: [Loaded; 2],
    links: [OwnedFd; 2],
    pub(super) packets: HashMap<MapData, u64, Octets<wire::Wire>>,
}

impl Flow {
    pub(super) fn sock_ops(home: &Home, sizes: Sizes) -> Result<Self, Failure> {
        let mut object = object::open(Group::Flow, &sizes.entries(Kind::SockOps))?;
        let program = object::load(&mut object, flow::PROGRAM, SockOps::load)?;
        let link = cgroup_link(home, &program, Hook::SockOps)?;
        Self::take(Held::Cgroup(link), sizes, program, &mut object)
    }

    pub(super) fn tracepoint(sizes: Sizes) -> Result<Self, Failure> {
        let btf = Btf::from_sys_fs().map_err(|error| Failure::new("BTF_MISSING", error.to_string()))?;
        let mut object = object::open(Group::Flow, &sizes.entries(Kind::Tracepoint))?;
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
        let kind = held.kind();
        Ok(Self {
            held,
            sizes,
            program,
            flows: object::take(object, records(kind))?,
            events: object::take(object, flow::map::FLOW_EVENTS)?,
            count: object::take(object, flow::map::FLOW_COUNT)?,
        })
    }

    /// A tracepoint stays; a cgroup's program may be detached, or the cgroup be removed.
    pub(super) fn holds(&self) -> bool {
        match &self.held {
            Held::Cgroup(link) => sys::link_holds(link.as_fd()).unwrap_or(false),
            Held::Tracepoint { .. } => true,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.held.kind()
    }

    pub(super) fn count(&self) -> FlowCount {
        let each = self.count.get(&0, 0);
        let each = each.iter().flat_map(|each| each.iter()).map(|octets| FlowCount::from_octets(*octets));
        each.fold(FlowCount::default(), |sum, one| FlowCount { lost: sum.lost + one.lost, full: sum.full + one.full })
    }
}

impl Held {
    fn kind(&self) -> Kind {
        match self {
            Self::Cgroup(_) => Kind::SockOps,
            Self::Tracepoint { .. } => Kind::Tracepoint,
        }
    }
}

impl Sizes {
    /// The map of the program that is loaded gets the room, that of the other none.
    fn entries(self, kind: Kind) -> [(&'static str, u32); 3] {
        let room = |map| if map == records(kind) { self.flows } else { 1 };
        let [ours, seen] = [flow::map::FLOWS, flow::map::FLOWS_SEEN].map(|map| (map, room(map)));
        [ours, seen, (flow::map::FLOW_EVENTS, self.ring)]
    }
}

/// The map that a program keeps its connections in.
pub(super) const fn records(kind: Kind) -> &'static str {
    match kind {
        Kind::Tracepoint => flow::map::FLOWS_SEEN,
        Kind::SockOps | Kind::None => flow::map::FLOWS,
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
    pub(super) fn load(home: &Home) -> Result<Self, Failure> {
        let mut object = object::open(Group::Wire, &[])?;
        let programs = [
            object::load(&mut object, wire::PROGRAM_IN, CgroupSkb::load)?,
            object::load(&mut object, wire::PROGRAM_OUT, CgroupSkb::load)?,
        ];
        let links =
            [cgroup_link(home, &programs[0], Hook::CgroupIn)?, cgroup_link(home, &programs[1], Hook::CgroupOut)?];
        Ok(Self { programs, links, packets: object::take(&mut object, wire::map::WIRE)? })
    }

    /// Whether both programs still are attached.
    pub(super) fn holds(&self) -> bool {
        self.links.iter().all(|link| sys::link_holds(link.as_fd()).unwrap_or(false))
    }
}
