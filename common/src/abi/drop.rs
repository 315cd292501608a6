//! Group drop: the XDP program's maps. In the order in which the program asks them.

use super::Address;
use super::plain::plain;

/// Names of the maps, as the object has them.
pub mod map {
    /// Array of 1024 words: a bit per port (in the machine's order) that some public listener has.
    pub const PORTS: &str = "PORTS";
    /// Hash [`Endpoint`](crate::abi::Endpoint) -> listener, a u32 that only user space reads.
    pub const SCOPE: &str = "SCOPE";
    /// Array of one [`Conf`](super::Conf).
    pub const CONF: &str = "CONF";
    /// Longest-prefix trie of 4 octets in network order -> u32 that only user space reads: never dropped.
    pub const ALLOW4: &str = "ALLOW4";
    /// The same for IPv6, of 16 octets.
    pub const ALLOW6: &str = "ALLOW6";
    /// Hash [`Address`](crate::abi::Address) (IPv6 by its /64) -> [`Denied`](super::Denied).
    pub const DENY: &str = "DENY";
    /// Longest-prefix trie of 4 octets in network order -> rule (u32): bans.
    pub const DENY4: &str = "DENY4";
    /// The same for IPv6, of 16 octets.
    pub const DENY6: &str = "DENY6";
    /// LRU hash [`Address`](crate::abi::Address) (IPv6 by its /64) -> tat (u64).
    pub const SYN: &str = "SYN";
    /// Array of tats (u64): the first row of the sketch of parents (/24, /48).
    pub const PARENT0: &str = "PARENT0";
    /// Its second row.
    pub const PARENT1: &str = "PARENT1";
    /// Array of one tat (u64): all SYNs.
    pub const TOTAL: &str = "TOTAL";
    /// LRU hash [`Address`](crate::abi::Address) (IPv6 by its /64) -> time of expiry (u64).
    pub const KNOWN: &str = "KNOWN";
    /// Array of tats (u64): the first row of the sketch of sources, used under pressure.
    pub const SOURCE0: &str = "SOURCE0";
    /// Its second row.
    pub const SOURCE1: &str = "SOURCE1";
    /// Per-CPU array of [`Count`](super::Count), at the indices of [`counted`](super::counted) and
    /// [`skipped`](super::skipped).
    pub const COUNT: &str = "COUNT";
    /// Per-CPU array of one [`Cpu`](super::Cpu).
    pub const CPU: &str = "CPU";
    /// Ring of [`Sample`](super::Sample).
    pub const DROPS: &str = "DROPS";
}

/// The program's name.
pub const PROGRAM: &str = "weir_drop";

/// Words of PORTS, of 64 ports each.
pub const PORTS_WORDS: u32 = 1024;
/// Entries of SCOPE.
pub const SCOPE_MAX: u32 = 4096;
/// Entries of ALLOW4 and of ALLOW6.
pub const ALLOW_MAX: u32 = 8192;
/// Entries of DENY, unless `deny_max` says otherwise.
pub const DENY_MAX: u32 = 65_536;
/// Entries of DENY4 and of DENY6, unless `prefixes_max` says otherwise.
pub const PREFIXES_MAX: u32 = 16_384;
/// Entries of SYN, unless `sources_max` says otherwise.
pub const SOURCES_MAX: u32 = 65_536;
/// Cells of a row of a sketch.
pub const ROW_CELLS: u32 = 65_536;
/// Entries of KNOWN.
pub const KNOWN_MAX: u32 = 65_536;
/// Octets of DROPS.
pub const DROPS_OCTETS: u32 = 256 * 1024;

plain! {
    /// What is armed, and with which numbers. All zero: nothing is.
    pub struct Conf: 136 {
        /// Bits of [`arm`].
        pub armed: u32,
        /// 1: count and sample, but pass. See [`action`].
        pub dry_run: u32,
        /// SYNs of one source.
        pub source: Limit,
        /// SYNs of one parent.
        pub parent: Limit,
        /// SYNs of all sources; beyond it those of unknown ones are dropped.
        pub total: Limit,
        /// Keep of an IPv6 source: its /64.
        pub source6: Address,
        /// Keep of an IPv4 source's parent: its /24.
        pub parent4: Address,
        /// Keep of an IPv6 source's parent: its /48.
        pub parent6: Address,
        /// Random: one per row of the sketches, so that nobody can choose whom to collide with.
        pub seeds: [u64; 2],
        /// New sources of one CPU in a second, beyond which it stops to remember sources for a second.
        pub pressure: u64,
        /// Events in DROPS of one CPU in a second.
        pub samples: u64,
    }
}

impl Conf {
    /// Nothing armed; masks, pressure and samples as by default.
    pub const IDLE: Self = Self {
        armed: 0,
        dry_run: 1,
        source: Limit::OFF,
        parent: Limit::OFF,
        total: Limit::OFF,
        source6: Address::mask(64),
        parent4: Address::mask(96 + 24),
        parent6: Address::mask(48),
        seeds: [0; 2],
        pressure: 10_000,
        samples: 100,
    };
}

plain! {
    /// Numbers of a GCRA: see [`gcra`](crate::gcra).
    pub struct Limit: 16 {
        /// Nanoseconds that one packet costs.
        pub t: u64,
        /// Nanoseconds that may be owed: (burst - 1) t.
        pub tolerance: u64,
    }
}

impl Limit {
    /// Costs nothing.
    pub const OFF: Self = Self { t: 0, tolerance: 0 };
}

/// Bits of [`Conf::armed`]. A map that is not armed is not asked, so an empty one costs nothing.
pub mod arm {
    /// ALLOW4 has entries.
    pub const ALLOW4: u32 = 1;
    /// ALLOW6 has entries.
    pub const ALLOW6: u32 = 1 << 1;
    /// DENY has entries.
    pub const DENY: u32 = 1 << 2;
    /// DENY4 has entries.
    pub const BANS4: u32 = 1 << 3;
    /// DENY6 has entries.
    pub const BANS6: u32 = 1 << 4;
    /// SYNs are limited by source.
    pub const SOURCE: u32 = 1 << 5;
    /// SYNs are limited by parent.
    pub const PARENT: u32 = 1 << 6;
    /// SYNs are limited in total.
    pub const TOTAL: u32 = 1 << 7;
    /// What can stop any packet.
    pub const ANY: u32 = DENY | BANS4 | BANS6;
    /// What can stop a SYN only.
    pub const SYN: u32 = SOURCE | PARENT | TOTAL;
}

plain! {
    /// Value of DENY. The program adds to `packets` and `bytes`, also in dry run; the rest is user space's.
    pub struct Denied: 32 {
        /// When the entry ends, by CLOCK_MONOTONIC. The program checks it, whoever removes the entry later.
        pub expires_ns: u64,
        /// Packets dropped by it.
        pub packets: u64,
        /// Their octets, from the Ethernet header on.
        pub bytes: u64,
        /// The rule that put it there, as user space numbers it.
        pub rule: u32,
        /// Bits of [`denied`].
        pub flags: u32,
    }
}

/// Bits of [`Denied::flags`], who put an entry there. The program does not read them.
pub mod denied {
    /// A rule's denials.
    pub const PROMOTED: u32 = 1;
    /// An operator.
    pub const OPERATOR: u32 = 1 << 1;
}

/// Why a packet is dropped. The number is that of [`Sample::cause`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// Its source has an entry in DENY.
    Deny = 0,
    /// Its source is banned.
    Ban = 1,
    /// Its source sends too many SYNs.
    SynSource = 2,
    /// Its source's parent sends too many SYNs.
    SynPrefix = 3,
    /// Too many SYNs in all, and its source is unknown.
    SynTotal = 4,
    /// Too many CPUs charged the same cell at once: denied, so as never to be over a limit.
    Contended = 5,
}

impl Cause {
    /// All, each at its number.
    pub const ALL: [Self; 6] =
        [Self::Deny, Self::Ban, Self::SynSource, Self::SynPrefix, Self::SynTotal, Self::Contended];

    /// The cause of an event.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// As metrics, events and docs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Ban => "ban",
            Self::SynSource => "syn_source",
            Self::SynPrefix => "syn_prefix",
            Self::SynTotal => "syn_total",
            Self::Contended => "contended",
        }
    }
}

/// What is done with a packet that has a cause. The number is that of [`Sample::action`] and [`Conf::dry_run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Action {
    /// It is dropped.
    Drop = 0,
    /// It would be, but this is a dry run: it passes.
    WouldDrop = 1,
}

impl Action {
    /// Both, each at its number.
    pub const ALL: [Self; 2] = [Self::Drop, Self::WouldDrop];

    /// The action of an event.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// As metrics, events and docs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// Why a packet was not looked at, and passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Skip {
    /// Neither IPv4 nor IPv6.
    NotIp = 0,
    /// Not TCP.
    NotTcp = 1,
    /// More than two VLAN tags.
    VlanDepth = 2,
    /// More than six extension headers.
    ExtHeaders = 3,
    /// A fragment, but not the first: it has no ports.
    Fragment = 4,
    /// Truncated, of a wrong version, or with lengths that lie.
    Malformed = 5,
}

impl Skip {
    /// All, each at its number.
    pub const ALL: [Self; 6] =
        [Self::NotIp, Self::NotTcp, Self::VlanDepth, Self::ExtHeaders, Self::Fragment, Self::Malformed];

    /// As metrics and docs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::NotTcp => "not_tcp",
            Self::VlanDepth => "vlan_depth",
            Self::ExtHeaders => "ext_headers",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
        }
    }
}

/// Entries of COUNT.
pub const COUNTS: u32 = (Cause::ALL.len() * Action::ALL.len() + Skip::ALL.len()) as u32;

/// Index in COUNT of what had a cause.
#[inline(always)]
pub const fn counted(cause: Cause, action: Action) -> u32 {
    cause as u32 * Action::ALL.len() as u32 + action as u32
}

/// Index in COUNT of what was not looked at.
#[inline(always)]
pub const fn skipped(why: Skip) -> u32 {
    (Cause::ALL.len() * Action::ALL.len()) as u32 + why as u32
}

plain! {
    /// Value of COUNT.
    pub struct Count: 16 {
        /// Packets.
        pub packets: u64,
        /// Their octets, from the Ethernet header on.
        pub bytes: u64,
    }
}

plain! {
    /// Value of CPU: what one CPU remembers from packet to packet.
    pub struct Cpu: 56 {
        /// Start of the second in which `fresh` are counted.
        pub fresh_since: u64,
        /// Sources met in it that SYN did not have.
        pub fresh: u64,
        /// Until when no source is remembered.
        pub pressed_until: u64,
        /// Nanoseconds under pressure so far, up to `pressed_until`.
        pub pressed_ns: u64,
        /// Start of the second in which `sampled` are counted.
        pub sampled_since: u64,
        /// Events put into DROPS in it.
        pub sampled: u64,
        /// Events that DROPS had no room for.
        pub lost: u64,
    }
}

plain! {
    /// Record of DROPS.
    pub struct Sample: 64 {
        /// When, by CLOCK_MONOTONIC, in steps of some milliseconds.
        pub ts: u64,
        /// Where it came from, in full.
        pub src: Address,
        /// Where it went to.
        pub dst: Address,
        /// The port it came from.
        pub sport: u16,
        /// The port it went to.
        pub dport: u16,
        /// The rule of DENY or of a ban, else 0.
        pub rule: u32,
        /// The interface it came in by.
        pub ifindex: u32,
        /// Its octets, from the Ethernet header on.
        pub len: u32,
        /// Number of a [`Cause`].
        pub cause: u8,
        /// Number of an [`Action`].
        pub action: u8,
        /// TCP's flags, as they stand.
        pub flags: u8,
        /// Always 0.
        pub pad: [u8; 5],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_and_no_two_counts_share_one() {
        let causes = Cause::ALL.iter().flat_map(|cause| Action::ALL.map(|action| counted(*cause, action)));
        let all = causes.chain(Skip::ALL.map(skipped));
        assert!(all.eq(0..COUNTS));
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(Cause::of(at as u8), Some(cause));
        }
        assert_eq!((Cause::of(6), Action::of(1), Action::of(2)), (None, Some(Action::WouldDrop), None));
    }
}
