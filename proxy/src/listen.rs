//! Listening sockets, accepted connections and their limits.
