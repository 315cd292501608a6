//! The kernel's maps and ordinary ones, filled alike, and a packet judged by both.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap as Hash, MapData, MapError};
use aya::programs::Xdp;
use aya::{Ebpf, Pod, TestRun, TestRunOptions};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use weir_common::abi::drop::{Action, COUNTS, Conf, Count, Cpu, Denied, Limit, PROGRAM, counted, map, skipped};
use weir_common::abi::{Address, Endpoint, Plain};
use weir_common::oracle::Ordinary;
use weir_common::oracle::tables::{Held, Prefix};
use weir_common::packet::parse;
use weir_common::verdict::judge;
use weir_tests::object::{Group, per_cpu, set_only};

/// What the program says of a packet (uapi, `enum xdp_action`).
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;

/// The listeners, all in scope: IPv4 and IPv6.
pub(crate) const LISTENERS: [&str; 2] = ["192.0.2.1", "2001:db8:1::1"];
pub(crate) const PORTS: [u16; 2] = [443, 80];

/// Both sides.
pub(crate) struct Both {
    pub(crate) ebpf: Ebpf,
    pub(crate) user: Ordinary,
    conf: Conf,
    counts: RefCell<HashMap<u32, Count>>,
}

pub(crate) fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

/// Bits within all 128.
pub(crate) fn prefix(text: &str, bits: u32) -> Prefix {
    Prefix { address: address(text), bits }
}

/// So slow that the time between two packets makes no difference.
pub(crate) fn burst(packets: u64) -> Limit {
    const T: u64 = 1_000_000_000_000;
    Limit { t: T, tolerance: (packets - 1) * T }
}

/// The clock that the program reads.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The CPUs that this thread may use.
pub(crate) fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("affinity");
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

/// Stays on one CPU: the program's memory is per CPU.
pub(crate) fn pin(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).expect("affinity");
}

impl Both {
    pub(crate) fn new(conf: Conf) -> Self {
        Self::sized(conf, &[])
    }

    /// With maps of other sizes than by default.
    pub(crate) fn sized(conf: Conf, sizes: &[(&str, u32)]) -> Self {
        pin(cpus()[0]);
        let mut ebpf = Group::Drop.load(sizes).expect("the object");
        let program: &mut Xdp = ebpf.program_mut(PROGRAM).expect("the program").try_into().expect("XDP");
        program.load().expect("the verifier's consent");
        let mut both = Self { ebpf, user: Ordinary::default(), conf, counts: RefCell::default() };
        both.arm(conf);
        both.listen();
        both
    }

    fn listen(&mut self) {
        for port in PORTS {
            self.user.ports.insert(port);
            let mut words: Array<_, u64> = self.map(map::PORTS).try_into().expect("words");
            let (at, bit) = (u32::from(port / 64), port % 64);
            let word = words.get(&at, 0).expect("a word");
            words.set(at, word | 1 << bit, 0).expect("a word");
            for endpoint in LISTENERS.map(|text| Endpoint::new(address(text), port)) {
                self.user.scope.insert(endpoint);
                self.insert(map::SCOPE, endpoint.octets(), 1_u32).expect("room");
            }
        }
    }

    fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
    }

    pub(crate) fn hash<K: Pod, V: Pod>(&mut self, name: &str) -> Hash<&mut MapData, K, V> {
        self.map(name).try_into().expect("a hash of these sizes")
    }

    pub(crate) fn insert<K: Pod, V: Pod>(&mut self, name: &str, key: K, value: V) -> Result<(), MapError> {
        self.hash(name).insert(key, value, 0)
    }

    pub(crate) fn arm(&mut self, conf: Conf) {
        self.conf = conf;
        set_only(&mut self.ebpf, map::CONF, conf);
    }

    pub(crate) fn deny(&mut self, source: &str, entry: Denied) {
        let source = address(source);
        self.user.deny.insert(source, Held::new(entry));
        self.insert(map::DENY, source.octets(), entry.octets()).expect("room");
    }

    pub(crate) fn know(&mut self, source: &str, until: u64) {
        let source = address(source);
        self.user.known.insert(source, until);
        self.insert(map::KNOWN, source.octets(), until).expect("room");
    }

    pub(crate) fn allow(&mut self, prefix: Prefix) {
        self.user.allow.push(prefix);
        self.trie([map::ALLOW4, map::ALLOW6], prefix, 0);
    }

    pub(crate) fn ban(&mut self, prefix: Prefix, rule: u32) {
        self.user.bans.push((prefix, rule));
        self.trie([map::DENY4, map::DENY6], prefix, rule);
    }

    fn trie(&mut self, [v4, v6]: [&str; 2], prefix: Prefix, value: u32) {
        let octets = prefix.address.octets();
        if prefix.address.is_v4() {
            let mut trie: LpmTrie<_, [u8; 4], u32> = self.map(v4).try_into().expect("a trie");
            let last = octets[12..].try_into().expect("4 of 16");
            trie.insert(&Key::new(prefix.bits - 96, last), value, 0).expect("room");
        } else {
            let mut trie: LpmTrie<_, [u8; 16], u32> = self.map(v6).try_into().expect("a trie");
            trie.insert(&Key::new(prefix.bits, octets), value, 0).expect("room");
        }
    }

    pub(crate) fn program(&self) -> &Xdp {
        self.ebpf.program(PROGRAM).expect("the program").try_into().expect("XDP")
    }

    /// What the kernel does with a frame.
    #[track_caller]
    pub(crate) fn run(&self, frame: &[u8]) -> u32 {
        let run = self.program().test_run(TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() });
        run.unwrap_or_else(|e| panic!("{} octets: {e}", frame.len())).return_value
    }

    /// What it should do.
    pub(crate) fn expected(&self, frame: &[u8]) -> u32 {
        let (bytes, conf) = (frame.len() as u64, &self.conf);
        let tcp = match parse(&frame) {
            Ok(tcp) => tcp,
            Err(why) => {
                self.count(skipped(why), bytes);
                return PASS;
            }
        };
        let Some(verdict) = judge(&tcp, || bytes, now, conf, &self.user) else { return PASS };
        let (action, code) = if conf.dry_run == 0 { (Action::Drop, DROP) } else { (Action::WouldDrop, PASS) };
        self.count(counted(verdict.cause, action), bytes);
        code
    }

    fn count(&self, at: u32, bytes: u64) {
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(at).or_default();
        count.packets += 1;
        count.bytes += bytes;
    }

    /// Judges a frame on both sides. Gives what both say.
    #[track_caller]
    pub(crate) fn agree(&self, what: &str, frame: &[u8]) -> u32 {
        let (expected, got) = (self.expected(frame), self.run(frame));
        assert_eq!(got, expected, "{what}: {frame:02x?}");
        got
    }

    /// One of the kernel's counts, of all CPUs.
    pub(crate) fn counted(&self, at: u32) -> Count {
        let each = per_cpu::<Count>(&self.ebpf, map::COUNT, at);
        Count { packets: each.iter().map(|one| one.packets).sum(), bytes: each.iter().map(|one| one.bytes).sum() }
    }

    /// That all counts are those of the packets that both sides have judged.
    #[track_caller]
    pub(crate) fn agree_on_counts(&self) {
        let counts = self.counts.borrow();
        for at in 0..COUNTS {
            assert_eq!(self.counted(at), counts.get(&at).copied().unwrap_or_default(), "count {at}");
        }
    }

    /// What the CPU remembers that ran it all.
    pub(crate) fn cpu(&self) -> Cpu {
        let each = per_cpu::<Cpu>(&self.ebpf, map::CPU, 0);
        *each.iter().max_by_key(|cpu| (cpu.fresh_since, cpu.sampled_since)).expect("a CPU")
    }
}
