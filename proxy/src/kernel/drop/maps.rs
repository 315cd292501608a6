//! The drop program's maps, each by what is done to it. A write that a map refuses is `false`: it is full.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray};
use ipnet::IpNet;
use weir_common::abi::drop::{COUNTS, Conf, Count, Cpu, Denied, map};
use weir_common::abi::{Address, Endpoint, Plain};

use crate::kernel::object::{Failure, take, take_shared};
use crate::kernel::status::Counts;

type Octets<T> = <T as Plain>::Octets;

/// Sources taken over from other maps at once. More than KNOWN has; a map that changes under the walk ends it too.
const COPIED_MAX: usize = 65_536;

/// Their handles.
pub(super) struct Maps {
    ports: Array<MapData, u64>,
    scope: HashMap<MapData, Octets<Endpoint>, u32>,
    conf: Array<MapData, Octets<Conf>>,
    allow4: LpmTrie<MapData, [u8; 4], u32>,
    allow6: LpmTrie<MapData, [u8; 16], u32>,
    deny: HashMap<MapData, Octets<Address>, Octets<Denied>>,
    deny4: LpmTrie<MapData, [u8; 4], u32>,
    deny6: LpmTrie<MapData, [u8; 16], u32>,
    syn: Sources,
    known: Sources,
    /// Duplicates of the descriptors of these two.
    shared: [OwnedFd; 2],
    count: PerCpuArray<MapData, Octets<Count>>,
    cpu: PerCpuArray<MapData, Octets<Cpu>>,
}

impl Maps {
    /// Takes them out of the loaded object.
    pub(super) fn take(object: &mut Ebpf) -> Result<Self, Failure> {
        let (syn, syn_fd) = take_shared(object, map::SYN)?;
        let (known, known_fd) = take_shared(object, map::KNOWN)?;
        Ok(Self {
            shared: [syn_fd, known_fd],
            ports: take(object, map::PORTS)?,
            scope: take(object, map::SCOPE)?,
            conf: take(object, map::CONF)?,
            allow4: take(object, map::ALLOW4)?,
            allow6: take(object, map::ALLOW6)?,
            deny: take(object, map::DENY)?,
            deny4: take(object, map::DENY4)?,
            deny6: take(object, map::DENY6)?,
            syn,
            known,
            count: take(object, map::COUNT)?,
            cpu: take(object, map::CPU)?,
        })
    }

    pub(super) fn ports(&mut self, held: &BTreeMap<u32, u64>, wanted: &BTreeMap<u32, u64>) {
        for word in held.keys().chain(wanted.keys()) {
            let _ = self.ports.set(*word, wanted.get(word).copied().unwrap_or(0), 0);
        }
    }

    pub(super) fn scope(&mut self, endpoint: SocketAddr, listener: u32) -> bool {
        self.scope.insert(Endpoint::from(endpoint).octets(), listener, 0).is_ok()
    }

    pub(super) fn unscope(&mut self, endpoint: SocketAddr) {
        let _ = self.scope.remove(&Endpoint::from(endpoint).octets());
    }

    pub(super) fn conf(&mut self, conf: &Conf) -> bool {
        self.conf.set(0, conf.octets(), 0).is_ok()
    }

    pub(super) fn allow(&mut self, network: IpNet, value: u32) -> bool {
        insert(&mut self.allow4, &mut self.allow6, network, value)
    }

    pub(super) fn disallow(&mut self, network: IpNet) {
        remove(&mut self.allow4, &mut self.allow6, network);
    }

    pub(super) fn ban(&mut self, network: IpNet, rule: u32) -> bool {
        insert(&mut self.deny4, &mut self.deny6, network, rule)
    }

    pub(super) fn unban(&mut self, network: IpNet) {
        remove(&mut self.deny4, &mut self.deny6, network);
    }

    pub(super) fn deny(&mut self, source: IpAddr, denied: Denied) -> bool {
        self.deny.insert(Address::from(source).octets(), denied.octets(), 0).is_ok()
    }

    pub(super) fn undeny(&mut self, source: IpAddr) {
        let _ = self.deny.remove(&Address::from(source).octets());
    }

    pub(super) fn denied(&self, source: IpAddr) -> Option<Denied> {
        self.deny.get(&Address::from(source).octets(), 0).ok().map(Denied::from_octets)
    }

    pub(super) fn know(&mut self, source: IpAddr, until_ns: u64) {
        let _ = self.known.insert(source_key(source), until_ns, 0);
    }

    /// Has what other maps know of sources: who has sent a whole head, and who has sent how many SYNs.
    pub(super) fn copy_sources(&mut self, before: &Self) {
        copy(&before.known, &mut self.known);
        copy(&before.syn, &mut self.syn);
    }

    /// The same, of another process's maps: SYN and KNOWN.
    pub(super) fn copy_foreign([syn, known]: &[Sources; 2], to: &mut Self) {
        copy(known, &mut to.known);
        copy(syn, &mut to.syn);
    }

    /// Duplicates of the descriptors of SYN and KNOWN.
    pub(super) fn share_sources(&self) -> io::Result<Vec<OwnedFd>> {
        self.shared.iter().map(OwnedFd::try_clone).collect()
    }

    /// Sums over all CPUs.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for at in 0..COUNTS {
            for count in
                self.count.get(&at, 0).iter().flat_map(|each| each.iter()).map(|each| Count::from_octets(*each))
            {
                let cell = &mut counts.cells[at as usize];
                *cell = (cell.0 + count.packets, cell.1 + count.bytes);
            }
        }
        for cpu in self.cpu.get(&0, 0).iter().flat_map(|each| each.iter()).map(|each| Cpu::from_octets(*each)) {
            counts.pressed_ns += cpu.pressed_ns;
            counts.lost += cpu.lost;
        }
        counts
    }
}

/// How the program looks a source up: an IPv4 address, or an IPv6 /64.
fn source_key(source: IpAddr) -> Octets<Address> {
    let address = Address::from(source);
    if address.is_v4() { address } else { address.masked(Conf::IDLE.source6) }.octets()
}

pub(in crate::kernel) type Sources = HashMap<MapData, Octets<Address>, u64>;

fn copy(from: &Sources, to: &mut Sources) {
    for (source, value) in from.iter().take(COPIED_MAX).flatten() {
        // An old source without room in a smaller map is new again.
        let _ = to.insert(source, value, 0);
    }
}

type Trie<K> = LpmTrie<MapData, K, u32>;

fn insert(v4: &mut Trie<[u8; 4]>, v6: &mut Trie<[u8; 16]>, network: IpNet, value: u32) -> bool {
    let bits = network.prefix_len().into();
    match network {
        IpNet::V4(net) => v4.insert(&Key::new(bits, net.network().octets()), value, 0),
        IpNet::V6(net) => v6.insert(&Key::new(bits, net.network().octets()), value, 0),
    }
    .is_ok()
}

fn remove(v4: &mut Trie<[u8; 4]>, v6: &mut Trie<[u8; 16]>, network: IpNet) {
    let bits = network.prefix_len().into();
    let _ = match network {
        IpNet::V4(net) => v4.remove(&Key::new(bits, net.network().octets())),
        IpNet::V6(net) => v6.remove(&Key::new(bits, net.network().octets())),
    };
}
