//! Policy: who a client is, who is banned, what is limited; decided without I/O, `now` a parameter.

pub mod ban;
