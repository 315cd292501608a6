//! One file per operation: the entry it submits, and what its completion means.

pub(super) mod accept;
pub(super) mod cancel;
pub(super) mod close;
pub(super) mod connect;
pub(super) mod once;
pub(super) mod poll;
pub(super) mod receive;
pub(super) mod send;
pub(super) mod shutdown;
pub(super) mod splice;
