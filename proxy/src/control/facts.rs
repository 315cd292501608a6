//! What readiness rests on: cells that workers, the resolver and the supervisor store into, and control reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::base::Instant;

/// How often a worker shows that it turns.
pub const BEAT: std::time::Duration = std::time::Duration::from_millis(250);

/// One worker's signs of life. Aligned so that no two workers write the same cache line.
#[repr(align(128))]
#[derive(Default)]
pub struct WorkerFacts {
    beat_ns: AtomicU64,
    generation: AtomicU64,
    ended: AtomicBool,
}

impl WorkerFacts {
    /// Stored by the worker each [`BEAT`].
    pub fn beat(&self, now: Instant) {
        self.beat_ns.store(now.nanos(), Ordering::Relaxed);
    }

    /// Stored by the worker once new requests use this generation.
    pub fn adopted(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// Stored when the worker's thread ends, however it ends.
    pub fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// The last beat; none before the first.
    pub fn last_beat(&self) -> Option<Instant> {
        Some(self.beat_ns.load(Ordering::Relaxed)).filter(|&ns| ns > 0).map(Instant::from_nanos)
    }

    /// The generation that new requests use; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether the thread is gone.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// One address of a listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerFact {
    /// The listener's name.
    pub name: String,
    /// The address as configured.
    pub address: String,
    /// Why it is not bound; none if it is.
    pub error: Option<String>,
}

/// The resolver's state, as /ready needs it.
#[derive(Default)]
pub struct ResolverFacts {
    names: AtomicUsize,
    first_round_over: AtomicBool,
    answer_ns: AtomicU64,
    since_ns: AtomicU64,
}

impl ResolverFacts {
    /// How many hostnames are to be resolved.
    pub fn names(&self) -> usize {
        self.names.load(Ordering::Relaxed)
    }

    /// When the first name was wanted.
    pub fn since(&self) -> Instant {
        Instant::from_nanos(self.since_ns.load(Ordering::Relaxed))
    }

    /// Stored when the set of hostnames changes; the first of all names begins a first round.
    pub(super) fn begin(&self, names: usize, now: Instant, first: bool) {
        if first {
            self.first_round_over.store(false, Ordering::Release);
            self.since_ns.store(now.nanos(), Ordering::Relaxed);
        }
        self.names.store(names, Ordering::Relaxed);
    }

    /// Whether each name has had its first answer, failure or 5 s.
    pub fn first_round_over(&self) -> bool {
        self.first_round_over.load(Ordering::Acquire)
    }

    pub(super) fn end_first_round(&self) {
        self.first_round_over.store(true, Ordering::Release);
    }

    /// When a server last answered, NXDOMAIN included.
    pub fn last_answer(&self) -> Option<Instant> {
        Some(self.answer_ns.load(Ordering::Relaxed)).filter(|&ns| ns > 0).map(Instant::from_nanos)
    }

    pub(super) fn answered(&self, now: Instant) {
        self.answer_ns.store(now.nanos(), Ordering::Relaxed);
    }
}

/// Everything that readiness looks at.
pub struct Facts {
    workers: Box<[WorkerFacts]>,
    published: AtomicU64,
    published_ns: AtomicU64,
    listeners: Mutex<Vec<ListenerFact>>,
    reload_refused: Mutex<Option<String>>,
    draining: AtomicBool,
    frozen: AtomicBool,
    /// By code, what an operator should know though it fails nothing.
    warnings: Mutex<BTreeMap<&'static str, String>>,
    bound: Mutex<Vec<(SocketAddr, String)>>,
    kernel_lost: Mutex<Option<String>>,
    no_certificate: Mutex<Option<String>>,
    /// The resolver's state.
    pub resolver: ResolverFacts,
}

impl Facts {
    /// Facts of a process with so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| WorkerFacts::default()).collect(),
            published: AtomicU64::new(0),
            published_ns: AtomicU64::new(0),
            listeners: Mutex::default(),
            reload_refused: Mutex::default(),
            draining: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            bound: Mutex::default(),
            kernel_lost: Mutex::default(),
            no_certificate: Mutex::default(),
            warnings: Mutex::default(),
            resolver: ResolverFacts::default(),
        }
    }

    /// The workers, by number.
    pub fn workers(&self) -> &[WorkerFacts] {
        &self.workers
    }

    /// Stored when a generation is sent to the workers.
    pub fn publish(&self, generation: u64, now: Instant) {
        self.published_ns.store(now.nanos(), Ordering::Relaxed);
        self.published.store(generation, Ordering::Release);
    }

    /// The newest generation (0: none yet), and when it was sent.
    pub fn published(&self) -> (u64, Instant) {
        let generation = self.published.load(Ordering::Acquire);
        (generation, Instant::from_nanos(self.published_ns.load(Ordering::Relaxed)))
    }

    /// The oldest generation that some worker still gives to new requests.
    pub fn applied(&self) -> u64 {
        self.workers.iter().map(WorkerFacts::generation).min().unwrap_or(0)
    }

    /// Stored whenever listeners are bound, or fail to be.
    pub fn set_listeners(&self, listeners: Vec<ListenerFact>) {
        *self.listeners.lock().unwrap_or_else(PoisonError::into_inner) = listeners;
    }

    /// The addresses that should be bound and are not.
    pub fn unbound(&self) -> Vec<ListenerFact> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().filter(|listener| listener.error.is_some()).cloned().collect()
    }

    /// Stored when a reload is refused (why), or succeeds (none).
    pub fn set_reload_refused(&self, why: Option<String>) {
        *self.reload_refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the last reload changed nothing.
    pub fn reload_refused(&self) -> Option<String> {
        self.reload_refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what an operator should know (in one sentence), or that it is so no more (none).
    pub fn warn(&self, code: &'static str, hint: Option<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        match hint {
            Some(hint) => drop(warnings.insert(code, hint)),
            None => drop(warnings.remove(code)),
        }
    }

    /// What an operator should know, by code.
    pub fn warnings(&self) -> BTreeMap<&'static str, String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stored whenever listeners are bound: where those on TCP are, with the kernel's choice of ports, and their names.
    pub fn set_bound(&self, bound: Vec<(SocketAddr, String)>) {
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = bound;
    }

    /// Where listeners are bound on TCP, in order, and their names.
    pub fn bound(&self) -> Vec<(SocketAddr, String)> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stored when a required part of the kernel half is not attached (which, and why), or all are (none).
    pub fn set_kernel_lost(&self, lost: Option<String>) {
        *self.kernel_lost.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    }

    /// Which required part of the kernel half is not attached, and why.
    pub fn kernel_lost(&self) -> Option<String> {
        self.kernel_lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stored when the state directory, and all that the API changes, is another process's (true), or this one's.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Release);
    }

    /// Whether what outlives the process is another one's to change.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Stored when a listener that speaks TLS has no certificate of its own (which), or all have (none).
    pub fn set_no_certificate(&self, listener: Option<String>) {
        *self.no_certificate.lock().unwrap_or_else(PoisonError::into_inner) = listener;
    }

    /// Which listener speaks TLS without a certificate of its own.
    pub fn no_certificate(&self) -> Option<String> {
        self.no_certificate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stored when a drain or stop begins.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether a drain or stop has begun.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
