//! Networks of a test's own: namespaces, wires between them, cgroups and floods.
//!
//! Nothing has a name in the system: a namespace lives as long as a value, thread, socket or process that is in it, and
//! what was made inside goes with it, however the test ends. Entered by setns, never by `ip netns exec`, which mounts
//! another /sys and so hides cgroup2. Only root may do this.

pub mod cgroup;
pub mod edge;
pub mod flood;
pub mod pair;
pub mod ss;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

pub use cgroup::Cgroup;
pub use edge::Edge;
pub use flood::{Flood, Flooded, Sources};
pub use pair::Pair;
pub use ss::Ss;

/// A network namespace with its loopback up.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Namespace {
    /// A new one.
    pub fn new() -> Self {
        let namespace = std::thread::spawn(|| {
            #[expect(unsafe_code, reason = "unshare is unsafe for what it does to descriptors")]
            // SAFETY: not FILES; the thread ends with this closure, and no other is moved.
            unsafe {
                rustix::thread::unshare_unsafe(UnshareFlags::NEWNET).expect("a network namespace: is this root?");
            }
            Self(File::open("/proc/thread-self/ns/net").expect("the thread's namespace").into())
        });
        let namespace = namespace.join().expect("a thread that gave a namespace");
        namespace.ip("link set lo up");
        namespace
    }

    /// Moves the calling thread in, for good: the sockets that it opens and the programs that it starts are inside.
    pub fn enter(&self) {
        rustix::thread::move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("a namespace that exists");
    }

    /// Runs a closure inside, on a thread of its own; what it panics with, the caller panics with.
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter();
                inside()
            });
            thread.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Runs lines of `ip` inside, all or panic.
    #[track_caller]
    pub fn ip(&self, lines: &str) {
        let mut ip = Command::new("ip");
        ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let output = self.run(|| {
            let mut child = ip.spawn().expect("ip of iproute2");
            child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("ip that reads");
            child.wait_with_output().expect("ip that ends")
        });
        assert!(output.status.success(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a program inside to its end; panics if it fails. Gives what it wrote.
    #[track_caller]
    pub fn output(&self, command: &[&str]) -> String {
        let output = self.run(|| Command::new(command[0]).args(&command[1..]).output()).expect("a program that runs");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets a value below /proc/sys/net.
    #[track_caller]
    pub fn sysctl(&self, name: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/net/{name}"), value)).expect("a sysctl of this kernel");
    }

    /// A counter of /proc/net/snmp, such as `Tcp: RetransSegs`.
    #[track_caller]
    pub fn snmp(&self, group: &str, name: &str) -> u64 {
        let text = self.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).expect("counters");
        let mut rows = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "));
        let (names, values) = (rows.next().expect("a group"), rows.next().expect("its values"));
        let at = names.split(' ').position(|n| n == name).expect("a counter");
        values.split(' ').nth(at).and_then(|value| value.parse().ok()).expect("a number")
    }

    /// A counter of an interface, such as `rx_packets`.
    #[track_caller]
    pub fn counter(&self, interface: &str, name: &str) -> u64 {
        let text = self.output(&["ip", "-s", "-j", "link", "show", "dev", interface]);
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip's JSON");
        let (way, what) = name.split_once('_').expect("rx_ or tx_");
        links[0]["stats64"][way][what].as_u64().expect("a counter")
    }

    /// The index of an interface.
    #[track_caller]
    pub fn index(&self, interface: &str) -> u32 {
        let text = self.output(&["ip", "-j", "link", "show", "dev", interface]);
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip's JSON");
        links[0]["ifindex"].as_u64().and_then(|index| index.try_into().ok()).expect("an index")
    }

    /// How `ip` names it, for as long as this value lives.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}
