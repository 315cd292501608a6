//! Ports that no other test process takes.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral range (32768 on), so that no outgoing connection takes one in between.
const FIRST: u16 = 20000;
const COUNT: u16 = 10000;

/// A port of 127.0.0.1, reserved until this is dropped: the lock file keeps other test processes away from it even
/// while nothing listens.
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a free one.
    pub fn reserve() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let start = (std::process::id() as u16).wrapping_mul(61);
        for _ in 0..COUNT {
            let step = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = FIRST + step % COUNT;
            if let Some(lock) = lock(number)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in {FIRST}..{}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Its address on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

fn lock(number: u16) -> Option<File> {
    let dir = std::env::temp_dir().join("weir-tests-ports");
    std::fs::create_dir_all(&dir).expect("the directory of port locks");
    let file = File::options().create(true).append(true).open(dir.join(number.to_string())).ok()?;
    file.try_lock().ok().map(|()| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice() {
        let one = Port::reserve();
        assert!(lock(one.number()).is_none());
        assert_ne!(Port::reserve().number(), one.number());
    }
}
