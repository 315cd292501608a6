//! What happened to a request: outcome, counters, access log.
