//! Attaching the drop program to interfaces: in the driver where that is possible, else behind it; never in somebody
//! else's place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::scope::Place;
use super::sys::{self, Hook};
use crate::config::value::KernelAttach;

/// Where packets are met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Native,
    Generic,
}

impl Mode {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Native => sys::XDP_NATIVE,
            Self::Generic => sys::XDP_GENERIC,
        }
    }
}

/// Why an interface does not take the program.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another program is there, or at an interface above or below.
    Busy,
    /// The driver, or the interface, cannot.
    Unsupported(io::Error),
}

/// A program at an interface. Dropping it detaches.
#[derive(Debug)]
pub(super) struct XdpLink {
    fd: OwnedFd,
    pub(super) mode: Mode,
}

impl XdpLink {
    /// One that another process has made.
    pub(super) fn of(fd: OwnedFd, mode: Mode) -> Self {
        Self { fd, mode }
    }

    /// A duplicate for another process: the program stays for as long as either is open.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.fd.try_clone()
    }

    /// Whether it still is there: an interface may go, an administrator may detach it.
    pub(super) fn holds(&self) -> bool {
        sys::link_holds(self.fd.as_fd()).unwrap_or(false)
    }

    /// Runs another program in the old one's place.
    pub(super) fn run(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        sys::link_update(self.fd.as_fd(), program)
    }
}

/// Attaches. A native refusal leads to generic mode only where the driver, not the place, is the cause.
pub(super) fn attach(program: BorrowedFd<'_>, place: &Place, wanted: KernelAttach) -> Result<XdpLink, Refused> {
    let try_mode = |mode: Mode| {
        let link = sys::link_create(program, place.index, Hook::Xdp, mode.flags());
        link.map(|fd| XdpLink { fd, mode }).map_err(classify)
    };
    match wanted {
        KernelAttach::Native => try_mode(Mode::Native),
        KernelAttach::Generic => try_mode(Mode::Generic),
        KernelAttach::Auto => match try_mode(Mode::Native) {
            Err(Refused::Unsupported(_)) => try_mode(Mode::Generic),
            other => other,
        },
    }
}

fn classify(error: io::Error) -> Refused {
    match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => Refused::Busy,
        _ => Refused::Unsupported(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_place_is_told_from_a_driver_that_cannot() {
        for taken in [libc::EBUSY, libc::EEXIST] {
            assert!(matches!(classify(io::Error::from_raw_os_error(taken)), Refused::Busy));
        }
        for cannot in [libc::EOPNOTSUPP, libc::EINVAL, libc::ENODEV, libc::ENOMEM] {
            assert!(matches!(classify(io::Error::from_raw_os_error(cannot)), Refused::Unsupported(_)));
        }
    }
}
