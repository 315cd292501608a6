//! The few bpf(2) calls that aya does not offer as weir needs them: links without a fallback, and what a link is at.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_MAP_CREATE: i64 = 0;
const BPF_OBJ_GET_INFO_BY_FD: i64 = 15;
const BPF_LINK_CREATE: i64 = 28;
const BPF_LINK_UPDATE: i64 = 29;

const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// What a program is attached to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Hook {
    CgroupIn = 0,
    CgroupOut = 1,
    SockOps = 3,
    Xdp = 37,
}

/// Flags of XDP links (`XDP_FLAGS_*`).
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// In the driver.
pub(super) const XDP_NATIVE: u32 = 1 << 2;

/// `bpf_attr.link_create`, as far as it is used.
#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    hook: u32,
    flags: u32,
}

/// `bpf_attr.link_update`.
#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// `bpf_attr.info`.
#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// `bpf_attr` of a map, as far as it is used.
#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
}

/// `bpf_link_info`, long enough for all kinds.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    /// An XDP link's interface, a cgroup link's cgroup: 0 once that is gone or the link was detached.
    target: u64,
    more: [u64; 6],
}

/// Attaches a program and holds it there for as long as the descriptor lives. `target` is an interface's index, or a
/// cgroup's descriptor.
pub(super) fn link_create(program: BorrowedFd<'_>, target: u32, hook: Hook, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate { program: number(program), target, hook: hook as u32, flags };
    let fd = bpf(BPF_LINK_CREATE, &mut attr)?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    #[expect(unsafe_code, reason = "the kernel has just made the descriptor")]
    // SAFETY: a new descriptor that nobody else has; bpf(2) sets close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has a link run another program; no packet meets neither.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate { link: number(link), program: number(program), flags: 0, old_program: 0 };
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Whether a link of an interface or a cgroup still is at one.
pub(super) fn link_holds(link: BorrowedFd<'_>) -> io::Result<bool> {
    let mut info = LinkInfo::default();
    let mut attr = InfoByFd { fd: number(link), length: size_of::<LinkInfo>() as u32, info: (&raw mut info) as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // An interface's index is the first word alone.
    Ok(info.target != 0)
}

/// Makes and forgets the smallest map there is: whether the system call is allowed at all.
pub(super) fn try_map() -> io::Result<()> {
    let mut attr = MapCreate { kind: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: 4, entries: 1 };
    let fd = i32::try_from(bpf(BPF_MAP_CREATE, &mut attr)?).unwrap_or(-1);
    #[expect(unsafe_code, reason = "the kernel has just made the descriptor")]
    // SAFETY: a new descriptor that nobody else has.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// bpf(2). What follows a shorter attribute counts as zero.
fn bpf<T>(command: i64, attr: &mut T) -> io::Result<i64> {
    #[expect(unsafe_code, reason = "bpf(2) has no wrapper in libc")]
    // SAFETY: `attr` is one of the structs above, laid out as the kernel reads the command, and outlives the call; what
    // it points to does too, and has the length it says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
