//! The kernel half: what its programs drop, report and steer.

use ipnet::IpNet;

use crate::config::check;
use crate::config::format::{List, Sub};
use crate::config::number::{Count, Size, Time};
use crate::config::table::config_table;
use crate::config::text::Text;
use crate::config::value::{KernelAttach, KernelGroup, KernelMode, KernelSteer};

config_table! {
    /// The kernel half: programs that drop packets of abusive sources, report what TCP does, and steer connections to
    /// workers. weir serves without them; what is missing stands in /ready's warnings.
    pub struct Kernel: "kernel", checked by check::kernel {
        /// What becomes of packets to drop: they pass and are counted, there is no such program, or they are dropped.
        mode: KernelMode = "dry_run";
        /// Interfaces whose packets are looked at. `auto`: those that have an address of a public listener; a VLAN's is
        /// the one below it. None: no interface.
        interfaces: List<Text> = ["auto"], in 1 to 15, at most 64;
        /// Where packets are met: in the driver, or behind it. `auto`: in the driver if it can.
        attach: KernelAttach = "auto";
        /// Sources that are never dropped, beside loopback, this machine, its gateways, endpoints, trusted proxies, and
        /// clients of the management API within the last hour.
        allow: List<IpNet> = [], at most 1024;
        /// Whether bans hold in the kernel too.
        bans: bool = true;
        /// Sources that may be denied at once.
        deny_max: Count = 65536, in 1024 to 1_048_576;
        /// Bans of each IP version that the kernel takes; the others hold in weir alone.
        prefixes_max: Count = 16384, in 0 to 65_536;
        /// Sources whose SYNs are counted one by one.
        sources_max: Count = 65536, in 4096 to 1_048_576;
        /// Dropped packets that each CPU reports in a second.
        samples: Count = 100, in 0 to 10_000;
        /// Limits of new connections.
        syn: Sub<KernelSyn>;
        /// Whether TCP's own view of each connection is recorded.
        flow: bool = true;
        /// Connections that are recorded at once.
        flows_max: Count = 65536, in 1024 to 1_048_576;
        /// Octets of the ring by which TCP's events come: a power of 2.
        flow_ring: Size = "1MiB", in "64KiB" to "64MiB";
        /// Whether a connection goes to the worker of the CPU that received it. `auto`: if that loads no worker too
        /// much.
        steer: KernelSteer = "auto";
        /// Parts without which weir is not ready.
        required: List<KernelGroup> = [], at most 3;
    }
}

config_table! {
    /// Limits of new connections, by SYN packets. 0 is off.
    pub struct KernelSyn: "syn", checked by check::kernel_syn {
        /// SYNs in a second of one source: an IPv4 address, the /64 of an IPv6 address.
        rate: Count = 0, in 0 to 100_000;
        /// SYNs at once: from a tenth of `rate` to ten times as many; 0: twice as many.
        burst: Count = 0, in 2 to 1_000_000 or 0;
        /// How many times the rate and burst a source's neighbours have together: its /24, or its /48.
        prefix_factor: Count = 16, in 0 to 256;
        /// SYNs in a second of all sources that no request has come from within `known_ttl`.
        total: Count = 0, in 0 to 100_000_000;
        /// How long a source counts as known after a request.
        known_ttl: Time = "10m", in "0s" to "24h";
        /// New sources in a second of one CPU beyond which it counts them together, for a second.
        pressure: Count = 10000, in 100 to 1_000_000;
    }
}
