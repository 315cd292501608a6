//! The checks: one row each, and what makes it fail.

use std::time::Duration;

use crate::base::Instant;
use crate::control::Facts;

/// A beat older than this: the worker does not turn.
const BEAT_MAX: Duration = Duration::from_secs(2);
/// How long a worker may take to a new generation.
const LAG_MAX: Duration = Duration::from_secs(1);
/// How long the name servers may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Rule {
    pub(super) name: &'static str,
    pub(super) depends_on: &'static [&'static str],
    /// What is said while it holds.
    pub(super) fine: &'static str,
    fails: fn(&Facts, Instant) -> Option<Failure>,
}

pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) detail: &'static str,
    pub(super) hint: &'static str,
    pub(super) evidence: String,
}

/// In the order of the answer.
pub(super) const CHECKS: &[Rule] = &[
    Rule { name: "dataplane_running", depends_on: &[], fine: "every worker turns", fails: dataplane_running },
    Rule {
        name: "dataplane_config",
        depends_on: &["dataplane_running"],
        fine: "every listener is bound, and every required part of the kernel half attached",
        fails: dataplane_config,
    },
    Rule {
        name: "policy_ready",
        depends_on: &["dataplane_running"],
        fine: "every worker uses the newest configuration",
        fails: policy_ready,
    },
    Rule { name: "dns_allowlist", depends_on: &[], fine: "names resolve, or none are used", fails: dns_allowlist },
    Rule {
        name: "service_plane",
        depends_on: &[],
        fine: "every listener that speaks TLS has a certificate",
        fails: service_plane,
    },
    Rule { name: "draining", depends_on: &[], fine: "not draining", fails: draining },
];

/// Their names.
pub(in crate::control) const CHECK_NAMES: [&str; CHECKS.len()] = {
    let mut names = [""; CHECKS.len()];
    let mut at = 0;
    while at < CHECKS.len() {
        names[at] = CHECKS[at].name;
        at += 1;
    }
    names
};

/// Those that say whether traffic may come.
pub(super) const SERVING: [&str; 4] = ["dataplane_running", "dataplane_config", "policy_ready", "draining"];

/// How each check fails, if it does.
pub(super) fn assess(facts: &Facts, now: Instant) -> Vec<Option<Failure>> {
    CHECKS.iter().map(|rule| (rule.fails)(facts, now)).collect()
}

fn dataplane_running(facts: &Facts, now: Instant) -> Option<Failure> {
    let workers = || facts.workers().iter().enumerate();
    // A worker that a drain has emptied has done its work.
    if let Some((n, _)) = workers().find(|(_, worker)| worker.has_ended() && !facts.draining()) {
        return Some(Failure {
            code: "WORKER_EXITED",
            detail: "a worker has ended",
            hint: "see the log for its last words, then restart weir",
            evidence: format!("worker {n}"),
        });
    }
    if let Some((n, _)) = workers().find(|(_, worker)| worker.last_beat().is_none()) {
        return Some(Failure {
            code: "STARTING",
            detail: "a worker has not begun to turn",
            hint: "wait; see the log if it lasts",
            evidence: format!("worker {n}"),
        });
    }
    let age = |beat: Option<Instant>| now.since(beat.unwrap_or_default());
    let stalled = workers().find(|(_, worker)| !worker.has_ended() && age(worker.last_beat()) >= BEAT_MAX);
    stalled.map(|(n, worker)| Failure {
        code: "WORKER_STALLED",
        detail: "a worker does not turn",
        hint: "look for a stopped or starved thread of the process",
        evidence: format!("worker {n}: last beat {} ms ago", age(worker.last_beat()).as_millis()),
    })
}

fn dataplane_config(facts: &Facts, _: Instant) -> Option<Failure> {
    let unbound = facts.unbound();
    let Some(first) = unbound.first() else {
        return facts.kernel_lost().map(|evidence| Failure {
            code: "KERNEL_LINK_LOST",
            detail: "a part of the kernel half that kernel.required names is not attached",
            hint: "see /api/v1/kernel; it is tried again after 1 s to 60 s",
            evidence,
        });
    };
    Some(Failure {
        code: "LISTENER_BIND_FAILED",
        detail: "a listener is not bound; the others serve",
        hint: "free the address or change bind; it is tried again each second",
        evidence: format!(
            "{} of them; {} {}: {}",
            unbound.len(),
            first.name,
            first.address,
            first.error.as_deref().unwrap_or_default()
        ),
    })
}

fn policy_ready(facts: &Facts, now: Instant) -> Option<Failure> {
    let (generation, since) = facts.published();
    if generation == 0 {
        return Some(Failure {
            code: "NO_SNAPSHOT",
            detail: "there is no configuration yet",
            hint: "see the log for why none was built",
            evidence: String::new(),
        });
    }
    let lags = |worker: &crate::control::facts::WorkerFacts| worker.generation() < generation && !worker.has_ended();
    let (n, worker) = facts.workers().iter().enumerate().find(|(_, worker)| lags(worker))?;
    (now.since(since) >= LAG_MAX).then(|| Failure {
        code: "GENERATION_LAGS",
        detail: "a worker still uses an older configuration",
        hint: "it takes the newest when it turns: see dataplane_running",
        evidence: format!("worker {n}: generation {} of {generation}", worker.generation()),
    })
}

fn dns_allowlist(facts: &Facts, now: Instant) -> Option<Failure> {
    let resolver = &facts.resolver;
    if resolver.names() == 0 {
        return None;
    }
    let silent = resolver.last_answer().is_none_or(|last| now.since(last) >= SILENCE_MAX);
    let evidence = match (resolver.first_round_over(), resolver.last_answer()) {
        (true, _) if !silent => return None,
        (false, _) => "the first round of names is under way".to_owned(),
        (true, None) => format!("no answer in {} s", now.since(resolver.since()).as_secs()),
        (true, Some(last)) => format!("last answer {} s ago", now.since(last).as_secs()),
    };
    Some(Failure {
        code: "RESOLVER_DOWN",
        detail: "no name server answers",
        hint: "check resolver.servers or /etc/resolv.conf, and that port 53 is open",
        evidence,
    })
}

fn service_plane(facts: &Facts, _: Instant) -> Option<Failure> {
    facts.no_certificate().map(|evidence| Failure {
        code: "NO_CERTIFICATE",
        detail: "a listener speaks TLS and has no certificate but the one that weir makes",
        hint: "list one in its tls.certificates: clients trust no other",
        evidence,
    })
}

fn draining(facts: &Facts, _: Instant) -> Option<Failure> {
    facts.draining().then(|| Failure {
        code: "DRAINING",
        detail: "a drain or stop has begun",
        hint: "send traffic elsewhere",
        evidence: String::new(),
    })
}
