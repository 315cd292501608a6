//! What the kernel half offers about connections, as the flow table takes it: events, a record by cookie, packet counts.

use weir_common::abi::flow::{Event, Flow};
use weir_common::abi::wire::Wire;

/// Where kernel facts of connections come from. Implemented by the kernel half, whether its programs
/// run or not.
///
/// Every call but [`FlowSource::enable`] and [`FlowSource::count_packets`] is short and never waits; those two load
/// and attach programs, so they are called where blocking is allowed.
pub trait FlowSource: Send + Sync {
    /// What the facts rest on now; it may change while the process lives, as programs are lost and attached again.
    fn kind(&self) -> Kind;

    /// Hands over the events that wait, oldest first; those of kind OPEN and CLOSE with their record. Called each 10 ms
    /// by one task. Those of connections that are not weir's may be among them, where a cgroup is shared or the whole host
    /// is looked at: the table keeps nothing for long that no worker has named.
    fn drain(&self, take: &mut dyn FnMut(&Event, Option<&Flow>));

    /// Events that the kernel could not queue since the start.
    fn lost(&self) -> u64;

    /// The record of an open connection, as of its last callback; none once it is closed.
    fn record(&self, cookie: u64) -> Option<Flow>;

    /// Attaches (true) or detaches the flow programs and, with them, frees their maps and rings: performance mode. The
    /// flow table asks for it as soon as workers serve, unless performance mode was kept; nothing is attached before.
    /// To do what is done already is no error.
    ///
    /// # Errors
    /// Why they could not be attached; the source goes on as [`Kind::None`].
    fn enable(&self, on: bool) -> Result<(), String>;

    /// Attaches (true) or detaches the programs that count packets.
    ///
    /// # Errors
    /// Why they could not be attached; [`FlowSource::packets`] then knows nothing.
    fn count_packets(&self, on: bool) -> Result<(), String>;

    /// Packets of a connection since they are counted; none while they are not, or before its first packet.
    fn packets(&self, cookie: u64) -> Option<Wire>;
}

/// What kernel facts rest on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// sock_ops: everything.
    SockOps,
    /// The tracepoint of state changes: when it opened and how it closed; the rest is asked of TCP_INFO.
    Tracepoint,
    /// Nothing: TCP_INFO alone.
    None,
}
