//! The receive buffers: one incremental ring for messages of all sizes or, on kernels without such rings, one for
//! small and one for large messages; and a small reserve.

use std::io;
use std::rc::Rc;

use io_uring::Submitter;

use super::Settings;
use crate::buf::Pool;

const MAIN: u16 = 0;
const RESERVE: u16 = 1;
const BULK: u16 = 2;

/// Blocks of the main group that the kernel holds at a time: few, see [`Pool`].
const LENT_MAX: u16 = 8;
/// Without incremental rings: one message takes one block, so the kernel needs more of them, and smaller ones.
const SMALL_SIZE: u32 = 16 << 10;
const SMALL_LENT_MAX: u16 = 64;

/// The buffer groups, by number.
pub(in crate::ring) struct Buffers(Vec<Rc<Pool>>);

impl Buffers {
    pub(super) fn new(submitter: &Submitter<'_>, settings: &Settings) -> io::Result<Self> {
        let reserve = Pool::new(RESERVE, settings.reserve_size, settings.reserve_max, settings.reserve_max)?;
        let mut pools = match Self::shared(submitter, settings)? {
            Some(main) => vec![main, reserve],
            None => Self::by_size(submitter, settings, reserve)?,
        };
        pools[usize::from(RESERVE)].register(submitter, false)?;
        pools[usize::from(MAIN)].lend();
        Ok(Self(pools.into_iter().map(Rc::new).collect()))
    }

    fn shared(submitter: &Submitter<'_>, settings: &Settings) -> io::Result<Option<Pool>> {
        if !settings.incremental {
            return Ok(None);
        }
        let mut main = Pool::new(MAIN, settings.buffer_size, settings.buffers_max, LENT_MAX)?;
        match main.register(submitter, true) {
            Ok(()) => Ok(Some(main)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Half of the memory for each size.
    fn by_size(submitter: &Submitter<'_>, settings: &Settings, reserve: Pool) -> io::Result<Vec<Pool>> {
        let octets = u64::from(settings.buffer_size) * u64::from(settings.buffers_max) / 2;
        let size = SMALL_SIZE.min(settings.buffer_size);
        let count = (octets / u64::from(size)).clamp(1, 1 << 15) as u16;
        let mut main = Pool::new(MAIN, size, count, SMALL_LENT_MAX)?;
        let mut bulk = Pool::new(BULK, settings.buffer_size, settings.buffers_max.div_ceil(2), LENT_MAX)?;
        main.register(submitter, false)?;
        bulk.register(submitter, false)?;
        Ok(vec![main, reserve, bulk])
    }

    pub(in crate::ring) fn pool(&self, group: u16) -> &Rc<Pool> {
        &self.0[usize::from(group)]
    }

    pub(in crate::ring) const fn main(&self) -> u16 {
        MAIN
    }

    pub(in crate::ring) const fn is_reserve(&self, group: u16) -> bool {
        group == RESERVE
    }

    /// The group for sockets that receive much at a time, where it is another one.
    pub(in crate::ring) fn bulk(&self) -> Option<u16> {
        (self.0.len() > usize::from(BULK)).then_some(BULK)
    }

    /// The group that a starved receive may go on with.
    pub(super) fn ready(&self) -> Option<u16> {
        self.0[usize::from(RESERVE)].lend();
        [MAIN, RESERVE].into_iter().find(|&group| self.pool(group).ready())
    }

    /// Lends free blocks to the kernel, but for the reserve's.
    pub(super) fn lend(&self) {
        self.pool(MAIN).lend();
        if let Some(bulk) = self.bulk() {
            self.pool(bulk).lend();
        }
    }

    /// Gives memory back that was not needed lately.
    pub(super) fn trim(&self) {
        self.0.iter().for_each(|pool| pool.trim());
    }

    /// Octets that may be resident.
    pub(super) fn memory(&self) -> u64 {
        self.0.iter().map(|pool| pool.memory()).sum()
    }

    /// Blocks that chunks read.
    pub(super) fn read(&self) -> u64 {
        self.0.iter().map(|pool| u64::from(pool.read())).sum()
    }
}
