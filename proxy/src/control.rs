//! The control plane: management API, probes, DNS; ordinary tokio threads.
