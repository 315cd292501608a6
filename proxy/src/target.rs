//! Targets: which endpoint answers a request. Groups, splits, balancing, sticky cookies, limits, health, outliers.
//!
//! Read in this order: [`groups`] is what a route's document says, compiled; [`live`] is what is true of it just now
//! (addresses, health), an immutable table with its own epoch; [`choose`] takes the group, before the cache; [`balance`]
//! takes the endpoint, per attempt; [`queue`] is where a request waits if all are at their limits; [`health`] and
//! [`outlier`] decide, on control's side, what the next table says. Nothing here reads a clock or holds a descriptor.

pub mod balance;
pub mod cells;
pub mod choose;
pub mod explain;
pub mod groups;
pub mod health;
pub mod key;
pub mod live;
pub mod outlier;
pub mod queue;
pub mod sticky;
#[cfg(test)]
mod testing;

pub use balance::{Ask, Balancer, Balancers, Connection, InFlight, Pick, Picked};
pub use cells::{Cells, EndpointId, Waiting};
pub use choose::{Choice, Mode};
pub use groups::{Groups, Origin, Target};
pub use key::Keys;
pub use live::{Endpoint, Live, RouteLive, State};
pub use outlier::{Observed, Report};
pub use queue::{Queue, Refused, Ticket, Wake};
pub use sticky::Stick;
