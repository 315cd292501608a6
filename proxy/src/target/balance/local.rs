//! What one worker knows of one endpoint, and the reservations that requests and connections hold on it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::p2c_ewma::{CONNECT_FAILED, Ewma};
use crate::base::Instant;
use crate::target::cells::{Cells, EndpointId};
use crate::target::outlier::{Observed, Report};
use crate::target::queue::Queue;

/// One endpoint on one worker.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) cells: Arc<Cells>,
    /// Its group's line here, which a freed slot is offered to.
    pub(super) queue: Rc<Queue>,
    ewma: Cell<Ewma>,
    /// Whether control wants to hear of failures.
    reports: bool,
}

impl Local {
    pub(super) fn new(cells: Arc<Cells>, queue: Rc<Queue>, reports: bool, before: Option<&Self>) -> Rc<Self> {
        let ewma = Cell::new(before.map_or_else(Ewma::default, |local| local.ewma.get()));
        Rc::new(Self { cells, queue, ewma, reports })
    }

    /// Whether it serves this line and hears this wish; else it is made anew.
    pub(super) fn is(&self, queue: &Rc<Queue>, reports: bool) -> bool {
        Rc::ptr_eq(&self.queue, queue) && self.reports == reports
    }

    pub(super) fn ewma(&self, now: Instant) -> Duration {
        self.ewma.get().read(now)
    }

    pub(super) fn enter(self: &Rc<Self>, max: u32) -> Option<InFlight> {
        self.cells.enter(max).then(|| InFlight { local: self.clone() })
    }

    fn sample(&self, time: Duration, now: Instant) {
        self.ewma.set(self.ewma.get().with(time, now));
    }

    fn failed(&self, observed: Observed) -> Option<Report> {
        self.reports.then(|| {
            self.cells.suspect();
            Report { endpoint: self.cells.id(), observed }
        })
    }
}

/// A request's slot on an endpoint. Tell it how the attempt went; a report that comes back is for control. Client aborts
/// and refusals by own limits are told to nobody.
#[derive(Debug)]
#[must_use = "dropping it frees the slot"]
pub struct InFlight {
    local: Rc<Local>,
}

impl InFlight {
    /// The endpoint.
    pub fn endpoint(&self) -> EndpointId {
        self.local.cells.id()
    }

    /// A response's head came, `time` after the request was sent.
    pub fn answered(&self, status: u16, time: Duration, now: Instant) -> Option<Report> {
        self.local.sample(time, now);
        if status >= 500 {
            return self.local.failed(Observed::ServerError);
        }
        let cleared = self.local.reports && self.local.cells.cleared();
        cleared.then(|| Report { endpoint: self.endpoint(), observed: Observed::Answered })
    }

    /// The connection was refused, unreachable, or not accepted in time.
    pub fn connect_failed(&self, now: Instant) -> Option<Report> {
        self.local.sample(CONNECT_FAILED, now);
        self.local.failed(Observed::ConnectFailed)
    }

    /// No head came within `time`.
    pub fn head_timed_out(&self, time: Duration, now: Instant) -> Option<Report> {
        self.local.sample(time, now);
        self.local.failed(Observed::HeadTimedOut)
    }

    /// It closed, reset, or sent no valid head: a 502 of its making.
    pub fn broke(&self) -> Option<Report> {
        self.local.failed(Observed::ServerError)
    }

    /// A connection to the same endpoint, below `max` over all workers (0: no limit).
    pub fn connection(&self, max: u32) -> Option<Connection> {
        self.local.cells.open(max).then(|| Connection { local: self.local.clone() })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.local.cells.leave();
        self.local.queue.freed();
    }
}

/// An open connection's place on an endpoint, held as long as the connection is open, idle or not.
#[derive(Debug)]
#[must_use = "dropping it frees the place"]
pub struct Connection {
    local: Rc<Local>,
}

impl Connection {
    /// The endpoint.
    pub fn endpoint(&self) -> EndpointId {
        self.local.cells.id()
    }

    /// Whether somebody waits while connections are at `max`: an idle connection is then closed, not kept, as only its
    /// own worker could use it.
    pub fn is_wanted(&self, max: u32) -> bool {
        max > 0 && self.local.cells.connections() >= max && self.local.queue.waiting().total() > 0
    }
}

impl Connection {
    /// The same of a connection that all requests of its own worker can share: whether it is others who wait.
    pub fn is_wanted_elsewhere(&self, max: u32) -> bool {
        self.local.queue.is_empty() && self.is_wanted(max)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.local.cells.close();
        self.local.queue.freed();
    }
}
