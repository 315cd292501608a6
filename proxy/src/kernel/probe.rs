//! Whether this machine lets weir load programs at all: kernel, capabilities, system call.

use std::fmt;
use std::io;

use super::sys;

/// The oldest kernel on which every program is known to load.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Capabilities that the kernel half needs, by their numbers; CAP_SYS_ADMIN stands for the first and the last.
const CAPABILITIES: [(u32, &str); 3] = [(39, "CAP_BPF"), (12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON")];
const SYS_ADMIN: u32 = 21;
const NET_ADMIN: u32 = 12;

/// Why nothing can be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    /// The kernel is older than 6.1.
    TooOld(String),
    /// These capabilities are not there.
    Missing(Vec<&'static str>),
    /// bpf(2) is forbidden: a container's seccomp profile, a lockdown, a user namespace.
    Blocked(String),
}

impl Obstacle {
    /// The warning's code.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::TooOld(_) => "KERNEL_TOO_OLD",
            Self::Missing(_) => "BPF_CAPS_MISSING",
            Self::Blocked(_) => "BPF_BLOCKED",
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld(release) => write!(f, "Linux {release} is older than {}.{}", KERNEL_MIN.0, KERNEL_MIN.1),
            Self::Missing(names) => write!(f, "missing: {}", names.join(", ")),
            Self::Blocked(error) => write!(f, "bpf(2) is not allowed here: {error}"),
        }
    }
}

/// Looks for what would keep any program from being loaded.
pub(super) fn probe() -> Option<Obstacle> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if version(&release).is_some_and(|version| version < KERNEL_MIN) {
        return Some(Obstacle::TooOld(release));
    }
    let missing = missing_capabilities();
    if !missing.is_empty() {
        return Some(Obstacle::Missing(missing));
    }
    sys::try_map().err().map(|error: io::Error| Obstacle::Blocked(error.to_string()))
}

/// Which of the capabilities that the kernel half needs this process lacks.
pub(super) fn missing_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing(effective(&status))
}

/// `CapEff` of /proc/PID/status.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    let absent = |(bit, _): &&(u32, &str)| !has(*bit) && (*bit == NET_ADMIN || !has(SYS_ADMIN));
    CAPABILITIES.iter().filter(absent).map(|(_, name)| *name).collect()
}

/// The first two numbers of a release such as `6.1.0-13-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_far_as_two_numbers() {
        assert_eq!(version("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(version("5.15-rc1"), Some((5, 15)));
        assert_eq!(version("unknown"), None);
        assert!(version("5.19.0") < Some(KERNEL_MIN) && version("10.0") > Some(KERNEL_MIN));
    }

    #[test]
    fn each_missing_capability_is_named() {
        assert_eq!(missing(1 << 39 | 1 << 12 | 1 << 38), [""; 0]);
        assert_eq!(missing(1 << 12 | 1 << 38), ["CAP_BPF"]);
        assert_eq!(missing(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(1 << 21), ["CAP_NET_ADMIN"], "the all-round one does not configure networks");
        assert_eq!(effective("Name:\tweir\nCapEff:\t000001ffffffffff\n"), 0x1ff_ffff_ffff);
        assert_eq!(effective("Name:\tweir\n"), 0);
    }
}
