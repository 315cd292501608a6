//! The maps, and how the decision asks them.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use weir_common::abi::drop::{
    ALLOW_MAX, COUNTS, Conf, Count, Cpu, DENY_MAX, DROPS_OCTETS, Denied, KNOWN_MAX, PORTS_WORDS, PREFIXES_MAX,
    ROW_CELLS, SCOPE_MAX, SOURCES_MAX,
};
use weir_common::abi::{Address, Endpoint};
use weir_common::verdict::{Entry, Sketch, Tables};
use weir_common::{gcra, pressure};

use crate::atomic;

#[map]
static PORTS: Array<u64> = Array::with_max_entries(PORTS_WORDS, 0);
#[map]
static SCOPE: HashMap<Endpoint, u32> = HashMap::with_max_entries(SCOPE_MAX, 0);
#[map]
pub(super) static CONF: Array<Conf> = Array::with_max_entries(1, 0);
#[map]
static ALLOW4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(ALLOW_MAX, 0);
#[map]
static ALLOW6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(ALLOW_MAX, 0);
#[map]
static DENY: HashMap<Address, Denied> = HashMap::with_max_entries(DENY_MAX, 0);
#[map]
static DENY4: LpmTrie<u32, u32> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);
#[map]
static DENY6: LpmTrie<[u32; 4], u32> = LpmTrie::with_max_entries(PREFIXES_MAX, 0);
#[map]
static SYN: LruHashMap<Address, u64> = LruHashMap::with_max_entries(SOURCES_MAX, 0);
#[map]
static PARENT0: Array<u64> = Array::with_max_entries(ROW_CELLS, 0);
#[map]
static PARENT1: Array<u64> = Array::with_max_entries(ROW_CELLS, 0);
#[map]
static TOTAL: Array<u64> = Array::with_max_entries(1, 0);
#[map]
static KNOWN: LruHashMap<Address, u64> = LruHashMap::with_max_entries(KNOWN_MAX, 0);
#[map]
static SOURCE0: Array<u64> = Array::with_max_entries(ROW_CELLS, 0);
#[map]
static SOURCE1: Array<u64> = Array::with_max_entries(ROW_CELLS, 0);
#[map]
static COUNT: PerCpuArray<Count> = PerCpuArray::with_max_entries(COUNTS, 0);
#[map]
static CPU: PerCpuArray<Cpu> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(super) static DROPS: RingBuf = RingBuf::with_byte_size(DROPS_OCTETS, 0);

/// Adds a packet to a count of this CPU.
#[inline(always)]
pub(super) fn count(index: u32, bytes: u64) {
    if let Some(count) = COUNT.get_ptr_mut(index) {
        // SAFETY: this CPU's own value, and the program does not interrupt itself.
        let count = unsafe { &mut *count };
        count.packets += 1;
        count.bytes += bytes;
    }
}

/// What this CPU remembers.
#[inline(always)]
pub(super) fn cpu() -> Option<&'static mut Cpu> {
    // SAFETY: this CPU's own value, and the program does not interrupt itself.
    CPU.get_ptr_mut(0).map(|cpu| unsafe { &mut *cpu })
}

/// The maps as the decision's tables.
pub(super) struct Maps;

/// A tat in some map.
#[derive(Clone, Copy)]
pub(super) struct Tat(*mut u64);

impl gcra::Cell for Tat {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: a map value, which the kernel keeps for the length of the call.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    fn exchange(&self, old: u64, new: u64) -> u64 {
        // SAFETY: as above; map values are aligned to 8.
        unsafe { atomic::exchange(self.0, old, new) }
    }
}

/// An entry of DENY.
pub(super) struct Deny(*mut Denied);

impl Entry for Deny {
    #[inline(always)]
    fn expires_ns(&self) -> u64 {
        // SAFETY: a map value, which the kernel keeps for the length of the call.
        unsafe { (*self.0).expires_ns }
    }

    #[inline(always)]
    fn hit(&self, bytes: u64) -> u32 {
        // SAFETY: as above; other CPUs count here too, hence atomics.
        unsafe {
            atomic::add(&raw mut (*self.0).packets, 1);
            atomic::add(&raw mut (*self.0).bytes, bytes);
            (*self.0).rule
        }
    }
}

impl Tables for Maps {
    type Cell = Tat;
    type Entry = Deny;

    #[inline(always)]
    fn port(&self, port: u16) -> bool {
        PORTS.get(u32::from(port >> 6)).is_some_and(|word| word >> (port & 63) & 1 != 0)
    }

    #[inline(always)]
    fn listener(&self, endpoint: &Endpoint) -> bool {
        SCOPE.get_ptr(endpoint).is_some()
    }

    #[inline(always)]
    fn allowed(&self, src: Address) -> bool {
        longest(&ALLOW4, &ALLOW6, src).is_some()
    }

    #[inline(always)]
    fn denied(&self, source: &Address) -> Option<Deny> {
        DENY.get_ptr_mut(source).map(Deny)
    }

    #[inline(always)]
    fn banned(&self, src: Address) -> Option<u32> {
        longest(&DENY4, &DENY6, src)
    }

    #[inline(always)]
    fn source(&self, source: &Address) -> Option<Tat> {
        SYN.get_ptr_mut(source).map(Tat)
    }

    #[inline(always)]
    fn remember(&self, source: &Address, tat: u64) -> bool {
        SYN.insert(source, tat, BPF_NOEXIST.into()).is_ok()
    }

    #[inline(always)]
    fn pressed(&self, now: u64, max: u64) -> bool {
        cpu().is_some_and(|cpu| pressure::met(cpu, now, max))
    }

    #[inline(always)]
    fn known(&self, source: &Address) -> Option<u64> {
        // SAFETY: a reused entry may be read: its time of expiry is another known source's.
        unsafe { KNOWN.get(source) }.copied()
    }

    #[inline(always)]
    fn cells(&self, sketch: Sketch, [first, second]: [u32; 2]) -> Option<[Tat; 2]> {
        let cells = match sketch {
            Sketch::Parent => (PARENT0.get_ptr_mut(first), PARENT1.get_ptr_mut(second)),
            Sketch::Source => (SOURCE0.get_ptr_mut(first), SOURCE1.get_ptr_mut(second)),
        };
        Some([Tat(cells.0?), Tat(cells.1?)])
    }

    #[inline(always)]
    fn total(&self) -> Option<Tat> {
        TOTAL.get_ptr_mut(0).map(Tat)
    }
}

#[inline(always)]
fn longest(v4: &LpmTrie<u32, u32>, v6: &LpmTrie<[u32; 4], u32>, address: Address) -> Option<u32> {
    let words = address.words();
    let value = if address.is_v4() { v4.get(Key::new(32, words[3])) } else { v6.get(Key::new(128, words)) };
    value.copied()
}
