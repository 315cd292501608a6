//! The ring itself: its two queues, and the system call between them.
#![expect(unsafe_code, reason = "the ring's queues are memory shared with the kernel")]

use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter, cqueue, squeue};

use super::Settings;
use crate::base::Instant;

/// How long completions may gather when several are wanted. Measured with 64 connections: 2 to 3 % less CPU per request
/// than a wake for each, and no request waits longer than this for it.
const GATHER_US: u32 = 30;

/// A ring and its submitter, which knows the ring by its registered index.
pub(in crate::ring) struct Enter {
    submitter: ManuallyDrop<Submitter<'static>>,
    /// Boxed by [`Enter::new`], and borrowed by `submitter`.
    ring: *mut IoUring,
    flags: EnterFlags,
    /// The kernel can wait for several completions and still return for fewer (Linux 6.12).
    gathers: bool,
}

impl Enter {
    pub(super) fn new(settings: &Settings) -> io::Result<Self> {
        let ring = Box::into_raw(Box::new(build(settings)?));
        // SAFETY: the box lives until `drop` frees it, and is only ever borrowed shared.
        let shared: &'static IoUring = unsafe { &*ring };
        let mut submitter = shared.submitter();
        // Worth having, but not required: it spares the look-up of the descriptor at each call.
        let _ = submitter.register_ring_fd();
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if shared.params().is_feature_no_iowait() {
            // A worker that waits for its clients does not wait for a disk.
            flags |= EnterFlags::NO_IOWAIT;
        }
        let gathers = shared.params().is_feature_min_timeout();
        Ok(Self { submitter: ManuallyDrop::new(submitter), ring, flags, gathers })
    }

    pub(super) fn submitter(&self) -> &Submitter<'static> {
        &self.submitter
    }

    fn ring(&self) -> &IoUring {
        // SAFETY: see `new`.
        unsafe { &*self.ring }
    }

    fn queue(&self) -> squeue::SubmissionQueue<'_> {
        // SAFETY: no caller keeps one, and the ring is used by one thread.
        unsafe { self.ring().submission_shared() }
    }

    /// Queues `entry`, if there is room. What it names must live until its last completion; [`super::Op`] sees to it.
    pub(super) fn push(&self, entry: &squeue::Entry) -> bool {
        // SAFETY: the contract above.
        unsafe { self.queue().push(entry) }.is_ok()
    }

    /// Hands what is queued to the kernel, without a look at completions.
    pub(super) fn flush(&self) -> io::Result<()> {
        let queued = self.queue().len() as u32;
        // SAFETY: no argument is passed.
        unsafe { self.submitter.enter::<()>(queued, 0, 0, None) }.map(drop)
    }

    /// Submits what is queued and waits for `want` completions, for `timeout` at most. With more than one wanted, one
    /// is enough once [`GATHER_US`] have passed.
    pub(super) fn wait(&self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let want = if self.gathers { want } else { want.min(1) };
        let until = timeout.map(Timespec::from);
        let args = SubmitArgs::new();
        let args = if want > 1 { args.min_wait_usec(GATHER_US) } else { args };
        let args = until.as_ref().map_or(args, |until| args.timespec(until));
        let queued = self.queue().len() as u32;
        // SAFETY: the arguments outlive the call, and EXT_ARG says what they are.
        match unsafe { self.submitter.enter(queued, want as u32, self.flags.bits(), Some(&args)) } {
            // A signal, the timeout, or completions that must be taken before more is submitted.
            Err(error)
                if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Whether the kernel keeps completions back for want of room.
    pub(super) fn overflown(&self) -> bool {
        self.queue().cq_overflow()
    }

    /// The next completion.
    pub(super) fn completion(&self) -> Option<cqueue::Entry> {
        // SAFETY: the only view of the completion queue, gone with this statement.
        unsafe { self.ring().completion_shared() }.next()
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: boxed by `new`; the submitter, the only borrow, is not used again and has no drop of its own.
        drop(unsafe { Box::from_raw(self.ring) });
    }
}

fn build(settings: &Settings) -> io::Result<IoUring> {
    let builder = || {
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_clamp().dontfork();
        builder.setup_cqsize(settings.cq_entries);
        builder
    };
    // NO_SQARRAY (6.6) spares an indirection at each submission.
    match builder().setup_no_sqarray().build(settings.entries) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => builder().build(settings.entries),
        built => built,
    }
}

/// CLOCK_MONOTONIC.
pub(super) fn clock() -> Instant {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes `now`, which lives here. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
