//! What the service manager is told, as sd_notify(3) has it: datagrams of `NAME=VALUE` lines to `$NOTIFY_SOCKET`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use super::upgrade::Phase;
use super::{Clock, Facts, ready};
use tokio::sync::watch;

/// The socket's path; one that begins with `@` has no file.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How soon the watchdog must hear of this process, in microseconds.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whom the watchdog is for; nobody in particular, if it is absent.
const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// How often it is looked whether there is something to say.
const LOOK: Duration = Duration::from_millis(100);

/// The way to the service manager, if there is one.
pub(super) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// As the environment says.
    pub(super) fn of_environment() -> Self {
        Self(std::env::var_os(SOCKET).and_then(open))
    }

    /// To nobody.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Says some lines. A service manager that does not listen misses them.
    pub(super) fn say(&self, lines: &str) {
        if let Some((socket, to)) = &self.0
            && let Err(error) = socket.send_to_addr(lines.as_bytes(), to)
        {
            tracing::debug!(%error, lines, "the service manager was not told");
        }
    }

    /// A reload begins; [`Self::say`] that it is `READY=1` again.
    pub(super) fn reloading(&self, clock: Clock) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock().nanos() / 1000));
    }

    /// Says when this process serves, and that it lives, until the runtime ends.
    pub(super) async fn run(self: Arc<Self>, facts: Arc<Facts>, clock: Clock, phase: watch::Receiver<Phase>) {
        if self.0.is_none() {
            return;
        }
        let period = watchdog(std::env::var_os(WATCHDOG), std::env::var_os(WATCHDOG_PID), std::process::id());
        let mut looks = tokio::time::interval(period.unwrap_or(LOOK).min(LOOK));
        let (mut is_ready, mut ends, mut fed) = (false, false, None);
        loop {
            looks.tick().await;
            let now = clock();
            if !is_ready && facts.applied() > 0 && !facts.is_frozen() {
                is_ready = true;
                self.say(&format!("MAINPID={}\nREADY=1\nSTATUS=serving", std::process::id()));
            }
            if matches!(*phase.borrow(), Phase::Given { .. }) {
                return;
            }
            if facts.draining() && !ends {
                ends = true;
                self.say("STOPPING=1\nSTATUS=finishing what is in flight");
            }
            let due = period.is_some_and(|period| fed.is_none_or(|fed| now.since(fed) >= period));
            if due && is_ready && ready::workers_turn(&facts, now) {
                fed = Some(now);
                self.say("WATCHDOG=1");
            }
        }
    }
}

fn open(path: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let to = to.inspect_err(|error| tracing::warn!(%error, "{SOCKET} is no address")).ok()?;
    let socket = UnixDatagram::unbound().and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
    Some((socket.ok()?, to))
}

/// How often the watchdog is fed: twice as often as it asks, if it asks this process.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    let is_ours = pid.is_none_or(|pid| number(pid) == Some(own.into()));
    let period = Duration::from_micros(usec.and_then(number)?) / 2;
    (is_ours && !period.is_zero()).then_some(period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchdog_is_fed_twice_as_often_as_it_asks_by_whom_it_asks() {
        let of = |usec: &str, pid: Option<&str>| watchdog(Some(usec.into()), pid.map(OsString::from), 7);
        assert_eq!(of("30000000", None), Some(Duration::from_secs(15)));
        assert_eq!(of("30000000", Some("7")), Some(Duration::from_secs(15)));
        assert_eq!(of("30000000", Some("8")), None);
        assert_eq!((of("0", None), of("x", None), watchdog(None, None, 7)), (None, None, None));
    }

    #[test]
    fn lines_reach_sockets_with_a_file_and_without() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let abstract_name = format!("weir-test-{}", std::process::id());
        let with_file = UnixDatagram::bind(&path).expect("bound");
        let address = SocketAddr::from_abstract_name(&abstract_name).expect("a name");
        let without = UnixDatagram::bind_addr(&address).expect("bound");
        for (name, socket) in [(path.into(), with_file), (format!("@{abstract_name}").into(), without)] {
            Notify(open(name)).say("READY=1");
            let mut heard = [0; 16];
            let count = socket.recv(&mut heard).expect("heard");
            assert_eq!(&heard[..count], b"READY=1");
        }
    }
}
