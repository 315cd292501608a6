//! The drop group: its maps, kept as the configuration and the machine have them, and its links.

mod conf;
mod maps;
mod sync;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{MapData, RingBuf};
use aya::programs::Xdp;
use ipnet::IpNet;
use weir_common::abi::drop::{Conf, Denied, PROGRAM, map};

use super::allow::Allow;
use super::full::{self, Refusals};
use super::link::{self, Mode, Refused, XdpLink};
use super::object::{self, Failure, Group, Loaded};
use super::scope::{Place, Scope};
use super::status::Counts;
use crate::config::raw::Kernel;
use crate::config::value::KernelAttach;
use conf::Filled;
use maps::Maps;
pub(super) use maps::Sources;
use sync::changes;

/// Sizes of maps, which only a new load changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    deny: u32,
    pub(super) prefixes: u32,
    sources: u32,
}

impl Sizes {
    pub(super) fn of(kernel: &Kernel) -> Self {
        let count = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self { deny: count(kernel.deny_max), prefixes: count(kernel.prefixes_max), sources: count(kernel.sources_max) }
    }
}

/// What the maps should hold, but for the denied sources, which are written one by one.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Tables {
    pub(super) endpoints: BTreeMap<SocketAddr, u32>,
    pub(super) ports: BTreeMap<u32, u64>,
    pub(super) allow: BTreeMap<IpNet, u32>,
    pub(super) bans: BTreeMap<IpNet, u32>,
}

impl Tables {
    pub(super) fn of(scope: &Scope, allow: &Allow, bans: BTreeMap<IpNet, u32>) -> Self {
        let ports = (0..).zip(scope.ports.iter().copied()).filter(|(_, word)| *word != 0);
        Self {
            endpoints: scope.endpoints.clone(),
            ports: ports.collect(),
            allow: allow.networks.iter().map(|network| (*network, 0)).collect(),
            bans,
        }
    }

    fn filled(&self, denied: usize) -> Filled {
        let any = |nets: &BTreeMap<IpNet, u32>, v4: bool| nets.keys().any(|net| matches!(net, IpNet::V4(_)) == v4);
        Filled {
            allow4: any(&self.allow, true),
            allow6: any(&self.allow, false),
            deny: denied > 0,
            bans4: any(&self.bans, true),
            bans6: any(&self.bans, false),
        }
    }
}

/// The loaded group.
pub(super) struct Drop {
    pub(super) sizes: Sizes,
    program: Loaded,
    maps: Maps,
    samples: Option<RingBuf<MapData>>,
    links: BTreeMap<Place, XdpLink>,
    seeds: [u64; 2],
    held: Tables,
    denied: usize,
    conf: Conf,
}

impl Drop {
    /// Makes the maps and has the verifier pass the program. Nothing is attached.
    pub(super) fn load(sizes: Sizes) -> Result<Self, Failure> {
        let entries = [
            (map::DENY, sizes.deny),
            // A map without room cannot be made: one entry stays unused.
            (map::DENY4, sizes.prefixes.max(1)),
            (map::DENY6, sizes.prefixes.max(1)),
            (map::SYN, sizes.sources),
        ];
        let mut object = object::open(Group::Drop, &entries)?;
        let program = object::load(&mut object, PROGRAM, Xdp::load)?;
        Ok(Self {
            sizes,
            program,
            maps: Maps::take(&mut object)?,
            samples: Some(object::take(&mut object, map::DROPS)?),
            links: BTreeMap::new(),
            seeds: [fastrand::u64(..), fastrand::u64(..)],
            held: Tables::default(),
            denied: 0,
            conf: Conf::default(),
        })
    }

    /// The ring of samples, once.
    pub(super) fn take_samples(&mut self) -> Option<RingBuf<MapData>> {
        self.samples.take()
    }

    /// The program's id.
    pub(super) fn program_id(&self) -> u32 {
        self.program.id
    }

    /// Has the maps hold `wanted`. What is allowed is so before anything is denied, what is no longer denied goes
    /// before what is no longer allowed, and what arms the program comes last. What the maps have refused.
    pub(super) fn sync(&mut self, wanted: &Tables, kernel: &Kernel) -> Refusals {
        let mut refused = Refusals::default();
        let held = std::mem::take(&mut self.held);
        let allow = changes(&held.allow, &wanted.allow);
        let bans = changes(&held.bans, &wanted.bans);
        let endpoints = changes(&held.endpoints, &wanted.endpoints);
        let mut now = held.clone();
        for (network, value) in allow.set {
            match self.maps.allow(network, value) {
                true => drop(now.allow.insert(network, value)),
                false => refused.add(full::allow(&network), 1),
            }
        }
        for (network, rule) in bans.set {
            match self.maps.ban(network, rule) {
                true => drop(now.bans.insert(network, rule)),
                false => refused.add(full::ban(&network), 1),
            }
        }
        for (endpoint, listener) in endpoints.set {
            match self.maps.scope(endpoint, listener) {
                true => drop(now.endpoints.insert(endpoint, listener)),
                false => refused.add(map::SCOPE, 1),
            }
        }
        if held.ports != wanted.ports {
            self.maps.ports(&held.ports, &wanted.ports);
            now.ports.clone_from(&wanted.ports);
        }
        for endpoint in endpoints.removed {
            self.maps.unscope(endpoint);
            now.endpoints.remove(&endpoint);
        }
        for network in bans.removed {
            self.maps.unban(network);
            now.bans.remove(&network);
        }
        for network in allow.removed {
            self.maps.disallow(network);
            now.allow.remove(&network);
        }
        self.held = now;
        self.arm(kernel);
        refused
    }

    fn arm(&mut self, kernel: &Kernel) {
        let conf = conf::conf(kernel, self.seeds, self.held.filled(self.denied));
        if conf != self.conf && self.maps.conf(&conf) {
            self.conf = conf;
        }
    }

    /// Denies a source. False: the map has no room.
    pub(super) fn deny(&mut self, source: IpNet, denied: Denied, kernel: &Kernel) -> bool {
        let is_new = self.denied(source).is_none();
        let taken = self.maps.deny(source.network(), denied);
        self.denied += usize::from(taken && is_new);
        self.arm(kernel);
        taken
    }

    /// Lets a source in again; what was dropped until now.
    pub(super) fn release(&mut self, source: IpNet, kernel: &Kernel) -> Option<(u64, u64)> {
        let last = self.denied(source);
        self.maps.undeny(source.network());
        if last.is_some() {
            self.denied = self.denied.saturating_sub(1);
            self.arm(kernel);
        }
        last
    }

    /// Packets and octets dropped by a source's entry.
    pub(super) fn denied(&self, source: IpNet) -> Option<(u64, u64)> {
        self.maps.denied(source.network()).map(|denied| (denied.packets, denied.bytes))
    }

    /// Sources that have sent a whole request's head are known until then.
    pub(super) fn know(&mut self, sources: impl IntoIterator<Item = IpAddr>, until_ns: u64) {
        sources.into_iter().for_each(|source| self.maps.know(source, until_ns));
    }

    /// Attaches where it should be and is not, detaches where it should not. Why some place does not take it.
    pub(super) fn attach(&mut self, places: &[Place], wanted: KernelAttach) -> Vec<(Place, Refused)> {
        self.links.retain(|place, link| places.contains(place) && link.holds() && suits(link.mode, wanted));
        let missing: Vec<_> = places.iter().filter(|place| !self.links.contains_key(*place)).cloned().collect();
        let mut refused = Vec::new();
        for place in missing {
            match link::attach(self.program.fd.as_fd(), &place, wanted) {
                Ok(link) => {
                    tracing::info!(interface = place.name, mode = link.mode.word(), "drop program attached");
                    self.links.insert(place, link);
                }
                Err(why) => refused.push((place, why)),
            }
        }
        refused
    }

    /// Where the program is, and how.
    pub(super) fn links(&self) -> impl Iterator<Item = (&Place, Mode)> {
        self.links.iter().map(|(place, link)| (place, link.mode))
    }

    /// Forgets links whose interface is gone, or that somebody detached; their places.
    pub(super) fn lost(&mut self) -> Vec<Place> {
        let lost: Vec<_> =
            self.links.iter().filter(|(_, link)| !link.holds()).map(|(place, _)| place.clone()).collect();
        lost.iter().for_each(|place| drop(self.links.remove(place)));
        lost
    }

    /// Takes over whom a group that this one replaces knows and has counted: returning clients stay known.
    pub(super) fn take_sources(&mut self, before: &Self) {
        self.maps.copy_sources(&before.maps);
    }

    /// Takes over the links of a group that this one replaces: no packet passes unjudged.
    pub(super) fn take_links(&mut self, before: &mut Self) {
        for (place, link) in std::mem::take(&mut before.links) {
            if link.run(self.program.fd.as_fd()).is_ok() {
                self.links.insert(place, link);
            }
        }
    }

    /// Takes over from another process: whom it knows and has counted, then its links.
    pub(super) fn inherit(&mut self, heirloom: Heirloom) {
        if let Some(sources) = &heirloom.sources {
            Maps::copy_foreign(sources, &mut self.maps);
        }
        for (place, link) in heirloom.links {
            match link.run(self.program.fd.as_fd()) {
                Ok(()) => {
                    tracing::info!(interface = place.name, mode = link.mode.word(), "drop program taken over");
                    self.links.insert(place, link);
                }
                Err(error) => tracing::warn!(interface = place.name, %error, "drop program not taken over"),
            }
        }
    }

    /// Runs its program again where another process has put its own, and did not stay. Links that are gone are lost.
    pub(super) fn regain(&mut self) {
        let program = self.program.fd.as_fd();
        self.links.retain(|place, link| {
            let regained = link.run(program);
            let failed = regained.inspect_err(|error| tracing::warn!(interface = place.name, %error, "link lost"));
            failed.is_ok()
        });
    }

    /// Duplicates for another process: links, with their places and modes, and the maps of sources.
    pub(super) fn share(&self) -> io::Result<(Vec<(Place, Mode, OwnedFd)>, Vec<OwnedFd>)> {
        let links = self.links.iter().map(|(place, link)| Ok((place.clone(), link.mode, link.share()?)));
        Ok((links.collect::<io::Result<_>>()?, self.maps.share_sources()?))
    }

    /// What the program has counted.
    pub(super) fn counts(&self) -> Counts {
        self.maps.counts()
    }

    /// Entries of the maps that user space fills, and their bounds.
    pub(super) fn sizes_now(&self) -> [(&'static str, Option<u64>, u64); 8] {
        let v4 = |nets: &BTreeMap<IpNet, u32>| nets.keys().filter(|net| matches!(net, IpNet::V4(_))).count() as u64;
        let v6 = |nets: &BTreeMap<IpNet, u32>| nets.len() as u64 - v4(nets);
        let allow_max = u64::from(weir_common::abi::drop::ALLOW_MAX);
        let Sizes { deny, prefixes, sources } = self.sizes;
        [
            (map::SCOPE, Some(self.held.endpoints.len() as u64), u64::from(weir_common::abi::drop::SCOPE_MAX)),
            (map::ALLOW4, Some(v4(&self.held.allow)), allow_max),
            (map::ALLOW6, Some(v6(&self.held.allow)), allow_max),
            (map::DENY, Some(self.denied as u64), deny.into()),
            (map::DENY4, Some(v4(&self.held.bans)), prefixes.into()),
            (map::DENY6, Some(v6(&self.held.bans)), prefixes.into()),
            (map::SYN, None, sources.into()),
            (map::KNOWN, None, u64::from(weir_common::abi::drop::KNOWN_MAX)),
        ]
    }
}

/// What another process leaves of its group.
pub(super) struct Heirloom {
    pub(super) links: BTreeMap<Place, XdpLink>,
    /// SYN and KNOWN.
    pub(super) sources: Option<[Sources; 2]>,
}

/// Whether a link is of a mode that the configuration lets it have.
fn suits(mode: Mode, wanted: KernelAttach) -> bool {
    match wanted {
        KernelAttach::Auto => true,
        KernelAttach::Native => mode == Mode::Native,
        KernelAttach::Generic => mode == Mode::Generic,
    }
}
