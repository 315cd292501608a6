//! The eBPF object as it is committed, loaded one group at a time, and its maps as values.

use std::path::Path;

use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use weir_common::abi::{Plain, drop, flow, steer, wire};

/// A group of programs: what is loaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The XDP program.
    Drop,
    /// The program of weir's cgroup.
    Flow,
    /// The tracepoint, where there is no cgroup.
    FlowFallback,
    /// Packets per connection.
    Wire,
    /// Connections to their CPU's worker.
    Steer,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Drop, Self::Flow, Self::FlowFallback, Self::Wire, Self::Steer];

    /// Its programs.
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Drop => &[drop::PROGRAM],
            Self::Flow => &[flow::PROGRAM],
            Self::FlowFallback => &[flow::PROGRAM_FALLBACK],
            Self::Wire => &[wire::PROGRAM_IN, wire::PROGRAM_OUT],
            Self::Steer => &[steer::PROGRAM],
        }
    }

    /// Its maps.
    pub fn maps(self) -> &'static [&'static str] {
        use drop::map as d;
        use flow::map as f;
        use steer::map as s;
        match self {
            Self::Drop => &[
                d::PORTS,
                d::SCOPE,
                d::CONF,
                d::ALLOW4,
                d::ALLOW6,
                d::DENY,
                d::DENY4,
                d::DENY6,
                d::SYN,
                d::PARENT0,
                d::PARENT1,
                d::TOTAL,
                d::KNOWN,
                d::SOURCE0,
                d::SOURCE1,
                d::COUNT,
                d::CPU,
                d::DROPS,
            ],
            Self::Flow => &[f::SYN_AT, f::FLOWS, f::FLOW_EVENTS, f::FLOW_CONF, f::FLOW_COUNT],
            Self::FlowFallback => &[f::FLOWS_SEEN, f::FLOW_EVENTS, f::FLOW_COUNT],
            Self::Wire => &[wire::map::WIRE],
            Self::Steer => &[s::GROUPS, s::SLOTS, s::LISTENERS, s::STEER_COUNT],
        }
    }

    /// Loads its maps, other groups' cut to almost nothing, and not yet its programs. `sizes` are entries by map.
    pub fn load(self, sizes: &[(&str, u32)]) -> Result<Ebpf, EbpfError> {
        let mut loader = EbpfLoader::new();
        for map in Self::ALL.iter().flat_map(|group| group.maps()).filter(|map| !self.maps().contains(map)) {
            // A ring is a number of pages.
            let ring = [drop::map::DROPS, flow::map::FLOW_EVENTS].contains(map);
            loader.map_max_entries(map, if ring { PAGE } else { 1 });
        }
        for (map, entries) in sizes {
            loader.map_max_entries(map, *entries);
        }
        loader.load(&octets())
    }
}

/// The smallest ring.
pub const PAGE: u32 = 4096;

/// The committed object.
pub fn octets() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ebpf/weir.bpf.o");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A map, out of the object for good.
#[track_caller]
pub fn take(ebpf: &mut Ebpf, name: &str) -> Map {
    ebpf.take_map(name).unwrap_or_else(|| panic!("no map {name}"))
}

/// A hash of plain values.
#[track_caller]
pub fn hash<K: Pod, V: Plain>(ebpf: &mut Ebpf, name: &str) -> Hash<K, V>
where
    V::Octets: Pod,
{
    Hash(take(ebpf, name).try_into().expect("a hash of these sizes"))
}

/// A hash of plain values.
pub struct Hash<K: Pod, V: Plain>(HashMap<MapData, K, V::Octets>)
where
    V::Octets: Pod;

impl<K: Pod, V: Plain> Hash<K, V>
where
    V::Octets: Pod,
{
    /// The value of a key.
    pub fn get(&self, key: K) -> Option<V> {
        self.0.get(&key, 0).ok().map(V::from_octets)
    }

    /// Sets a value.
    #[track_caller]
    pub fn set(&mut self, key: K, value: V) {
        self.0.insert(key, value.octets(), 0).expect("room");
    }

    /// Keys that it has.
    pub fn len(&self) -> usize {
        self.0.keys().count()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The only entry of an array.
#[track_caller]
pub fn set_only<V: Plain>(ebpf: &mut Ebpf, name: &str, value: V)
where
    V::Octets: Pod,
{
    let map = ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"));
    let mut array: Array<_, V::Octets> = map.try_into().expect("an array of this size");
    array.set(0, value.octets(), 0).expect("an entry");
}

/// The values of an array's entry, one per CPU.
#[track_caller]
pub fn per_cpu<V: Plain>(ebpf: &Ebpf, name: &str, at: u32) -> Vec<V>
where
    V::Octets: Pod,
{
    let map = ebpf.map(name).unwrap_or_else(|| panic!("no map {name}"));
    let array: PerCpuArray<_, V::Octets> = map.try_into().expect("an array of this size, per CPU");
    array.get(&at, 0).expect("an entry").iter().copied().map(V::from_octets).collect()
}

/// A ring, from what is in it on.
#[track_caller]
pub fn ring(ebpf: &mut Ebpf, name: &str) -> RingBuf<MapData> {
    take(ebpf, name).try_into().expect("a ring")
}
