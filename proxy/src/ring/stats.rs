//! What the runtime counts.

use std::cell::Cell;

macro_rules! stats {
    ($($(#[doc = $text:literal])+ $name:ident,)*) => {
        /// Counters and gauges of one runtime; cumulative but for those said to be gauges.
        #[derive(Default, Debug)]
        pub struct Stats {
            $($(#[doc = $text])+ pub $name: Cell<u64>,)*
        }

        impl Stats {
            /// Name and value of each, in the table's order.
            pub fn values(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

stats! {
    /// Turns of the loop.
    turns,
    /// Completions seen.
    completions,
    /// Times the submission queue was full and had to be flushed within a turn.
    sq_full,
    /// Turns that found the completion queue overflown.
    cq_overflow,
    /// Receives that ended for want of a buffer.
    enobufs,
    /// Receives that the reserve served.
    reserve_used,
    /// Receives paused because their socket held its cap.
    recv_paused,
    /// Accepts that ended for want of a descriptor or of memory.
    emfile,
    /// Tasks that panicked.
    panics,
    /// Gauge: operations the kernel holds.
    ops,
    /// Gauge: tasks alive.
    tasks,
    /// Gauge: sockets open, the closing ones included.
    sockets,
    /// Gauge: receive buffers that hold octets somebody still reads or sends.
    buffers_out,
    /// Gauge: octets of memory behind receive buffers that may be resident; renewed about once a second.
    buffer_memory,
}

/// Adds one.
pub(super) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// Takes one off a gauge.
pub(super) fn discount(cell: &Cell<u64>) {
    cell.set(cell.get().saturating_sub(1));
}
