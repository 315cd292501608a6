//! Upstream connections: pool, dialling, exchanges, retries.
