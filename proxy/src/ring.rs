//! The worker's io_uring driver and executor.
