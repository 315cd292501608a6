//! The kernel half: eBPF programs that drop packets of abusive sources, report what TCP does on weir's connections, and
//! steer new ones to workers. Each group loads, fails and degrades alone, and weir serves without any.

pub mod allow;
pub mod cgroup;
pub mod deny;
mod drop;
mod flow;
mod full;
pub mod handover;
mod link;
pub mod network;
mod object;
mod probe;
mod rules;
mod run;
mod samples;
mod scope;
pub mod status;
mod steer;
mod sys;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot, watch};

pub use cgroup::{Home, Stay};
pub use deny::{Refused, RuleName};
pub use flow::Flows;
pub use samples::{EarlyDrop, Samples};
pub use status::Status;
pub use steer::Listening;

use crate::base::Instant;
use crate::config::raw;
use crate::policy::tier::Promotion;
use allow::Allow;
use deny::Entry;

/// Promotions that may wait; a second's.
const PROMOTIONS_MAX: usize = 1024;
/// Batches of known sources that may wait: some from each worker.
const KNOWN_MAX: usize = 1024;
/// Orders of the API that may wait; their senders wait too.
const ORDERS_MAX: usize = 16;

/// What the kernel half has the workers do. Nothing here blocks; `false`: the mailbox is full.
pub trait Workers: Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The cores they run on.
    fn cores(&self) -> Vec<usize>;

    /// Whether all have a configuration.
    fn serve(&self) -> bool;

    /// Whether this one does not turn.
    fn stalls(&self, worker: usize) -> bool;

    /// Has a worker hand out duplicates of its listening sockets.
    fn share_listeners(&self, worker: usize, tell: &std_mpsc::Sender<Vec<Listening>>) -> bool;

    /// Has a worker reset the connections of these sources.
    fn cut(&self, worker: usize, denied: &Arc<[IpNet]>) -> bool;
}

/// What the configuration, the listeners and the rest of the process want of the kernel half.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    /// The document's table.
    pub kernel: raw::Kernel,
    /// Where listeners are bound, by TCP.
    pub bound: Vec<SocketAddr>,
    /// Who is never dropped, beside what the document and the machine say.
    pub allow: Vec<IpNet>,
    /// Bans that hold now, and what they are called.
    pub bans: Arc<Banned>,
    /// Rules whose denials may end in the kernel.
    pub rules: BTreeSet<RuleName>,
}

/// Bans for the maps.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Banned {
    /// As many networks as may find room, and what their bans are called.
    pub networks: Vec<(IpNet, Arc<str>)>,
    /// How many more there are, of IPv4 and of IPv6.
    pub left_out: [u64; 2],
}

/// The ways of facts from the workers to the kernel half. A full one loses them; the caller counts.
#[derive(Clone)]
pub struct Feeds {
    promotions: mpsc::Sender<Promotion>,
    known: mpsc::Sender<Vec<IpAddr>>,
}

/// Their other end.
pub struct Fed {
    promotions: mpsc::Receiver<Promotion>,
    known: mpsc::Receiver<Vec<IpAddr>>,
}

impl Feeds {
    /// Makes the ways.
    pub fn channel() -> (Self, Fed) {
        let (promotions, promotions_out) = mpsc::channel(PROMOTIONS_MAX);
        let (known, known_out) = mpsc::channel(KNOWN_MAX);
        (Self { promotions, known }, Fed { promotions: promotions_out, known: known_out })
    }

    /// Asks that a client be dropped.
    pub fn promote(&self, promotion: Promotion) -> bool {
        self.promotions.try_send(promotion).is_ok()
    }

    /// Tells which sources have sent a whole request head.
    pub fn know(&self, sources: Vec<IpAddr>) -> bool {
        self.known.try_send(sources).is_ok()
    }
}

/// What the kernel half is made of.
pub struct Parts {
    /// The cgroup of weir's sockets.
    pub home: Option<Home>,
    /// Reads CLOCK_MONOTONIC.
    pub clock: fn() -> Instant,
    /// What is wanted.
    pub wanted: watch::Receiver<Arc<Wanted>>,
    /// What workers tell.
    pub fed: Fed,
    /// The workers.
    pub workers: Arc<dyn Workers>,
    /// Where samples of dropped packets go.
    pub samples: Samples,
    /// Nothing is loaded before [`Kernel::take`].
    pub held: bool,
}

/// A denied source, as it is shown.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    /// An address or a /64.
    pub source: IpNet,
    /// Its entry, with what it has dropped.
    pub entry: Entry,
}

/// What the API asks for.
enum Order {
    Deny { source: IpNet, ttl: Duration, reason: Arc<str>, reply: oneshot::Sender<Result<(), Refused>> },
    Release { source: IpNet, reply: oneshot::Sender<Option<Shown>> },
    Show { source: IpNet, reply: oneshot::Sender<Option<Shown>> },
    List { offset: usize, limit: usize, reply: oneshot::Sender<(Vec<Shown>, usize)> },
    Hand(run::Hand),
}

/// The running kernel half.
#[derive(Clone)]
pub struct Kernel {
    status: watch::Receiver<Arc<Status>>,
    orders: mpsc::Sender<Order>,
    flows: Arc<Flows>,
}

impl Kernel {
    /// Begins: programs are loaded once workers serve. Runs within a runtime of several threads.
    pub fn start(parts: Parts) -> Self {
        let obstacle = probe::probe();
        let flows = Arc::new(Flows::new(parts.home, obstacle.clone()));
        let (status_out, status) = watch::channel(Arc::default());
        let (orders, orders_in) = mpsc::channel(ORDERS_MAX);
        let (network_out, network) = watch::channel(Arc::default());
        tokio::spawn(network::follow(network_out));
        let inputs = run::Inputs {
            wanted: parts.wanted,
            network,
            orders: orders_in,
            promotions: parts.fed.promotions,
            known: parts.fed.known,
        };
        let driver = run::Driver::new(
            run::Beside {
                clock: parts.clock,
                workers: parts.workers,
                samples: parts.samples,
                flows: Arc::clone(&flows),
                obstacle,
                status: status_out,
            },
            parts.held,
        );
        tokio::spawn(driver.run(inputs));
        Self { status, orders, flows }
    }

    /// What it does now.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// News of it.
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// What the kernel knows of connections.
    pub fn flows(&self) -> &Arc<Flows> {
        &self.flows
    }

    /// Duplicates of all that another process takes over.
    pub async fn give(&self) -> Option<handover::Given> {
        self.hand(run::Hand::Give).await.flatten()
    }

    /// Changes nothing from now on, so that another process may go on from there; who is denied.
    pub async fn freeze(&self) -> Option<handover::Standing> {
        self.hand(run::Hand::Freeze).await
    }

    /// Goes on after [`Self::freeze`], with its own programs again.
    pub async fn thaw(&self) {
        self.hand(run::Hand::Thaw).await;
    }

    /// Begins where another process has been frozen. Its programs are replaced when this comes back.
    pub async fn take(&self, given: Option<handover::Given>, standing: handover::Standing) {
        self.hand(|reply| run::Hand::Take(given, standing, reply)).await;
    }

    /// Steers what that process has accepted until now.
    pub async fn steer(&self) {
        self.hand(run::Hand::Steer).await;
    }

    async fn hand<T>(&self, step: impl FnOnce(oneshot::Sender<T>) -> run::Hand) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Hand(step(reply))).await;
        answer.await.ok()
    }

    /// Denies a source: an address or an IPv6 /64.
    ///
    /// # Errors
    /// Why it is not denied.
    pub async fn deny(&self, source: IpNet, ttl: Duration, reason: Arc<str>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Deny { source, ttl, reason, reply }).await;
        answer.await.unwrap_or(Err(Refused::Off))
    }

    /// Lets a source in again; its entry, if there was one.
    pub async fn release(&self, source: IpNet) -> Option<Shown> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Release { source, reply }).await;
        answer.await.ok().flatten()
    }

    /// A denied source.
    pub async fn denied_one(&self, source: IpNet) -> Option<Shown> {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::Show { source, reply }).await;
        answer.await.ok().flatten()
    }

    /// Denied sources by address, but for the first `offset`, and how many there are in all.
    pub async fn denied(&self, offset: usize, limit: usize) -> (Vec<Shown>, usize) {
        let (reply, answer) = oneshot::channel();
        let _ = self.orders.send(Order::List { offset, limit, reply }).await;
        answer.await.unwrap_or_default()
    }
}

/// What a client is denied by: its IPv4 address, or the /64 of its IPv6 address.
pub fn source_of(client: IpAddr) -> Option<IpNet> {
    deny::key(allow::host(client))
}

/// Everything that is never dropped: what is wanted, what the machine has.
fn allowed(wanted: &Wanted, network: &network::Network) -> Allow {
    let machine = network.addresses().chain(network.gateways.iter().copied()).map(allow::host);
    Allow::of(wanted.kernel.allow.iter().copied().chain(machine).chain(wanted.allow.iter().copied()))
}
