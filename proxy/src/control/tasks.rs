//! Where control's tasks are joined together: what each is made of, and who tells whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{mpsc, watch};

use super::api::Explain;
use super::audit::Audit;
use super::bans::BanList;
use super::certificates::Certificates;
use super::clients::Clients;
use super::flows::Flows;
use super::geoip::GeoFiles;
use super::live::FlipTable;
use super::notify::Notify;
use super::performance::PerformanceMode;
use super::port::{Ground, Process, Question, Refusal};
use super::ready::Readiness;
use super::resolver::Resolver;
use super::state::StateDir;
use super::supervisor::{Events, Parts, Reported, Seen, Supervisor};
use super::upgrade::{Arrival, Giver, GiverParts, OwnSocket, Phase, Taking, arrive};
use super::{Clock, Facts, Settings, Signal, Wiring, api, certificates, flows, kernel, probe, ready, trust};
use crate::base::metric::{Counters, Queue};
use crate::config::Document;
use crate::kernel::Kernel;
use crate::policy::finding::Denial;
use crate::policy::identity::Trust;
use crate::trace::flow::Notes;

/// Resolutions and probe results that may wait; their senders wait too.
const EVENTS_MAX: usize = 1024;
/// The readiness warning while nothing is kept.
const STATE_MISSING: &str = "STATE_DIR";

/// What is open before anything runs.
pub(super) struct Open {
    pub(super) listeners: api::Listeners,
    /// Where the next process finds this one.
    pub(super) own: Option<OwnSocket>,
    /// Where it found the one before, and does no more.
    pub(super) left: Option<PathBuf>,
    pub(super) signals: (mpsc::Sender<Signal>, mpsc::Receiver<Signal>),
}

/// What has to be finished once the workers have ended.
pub(super) struct Finish {
    pub(super) audit: Arc<Audit>,
    pub(super) giver: Arc<Giver>,
    /// Nothing was taken over.
    pub(super) failed: Arc<AtomicBool>,
}

/// Starts them all. What has been taken from another process is served once that one steps aside. Runs within the
/// runtime.
pub(super) fn run(
    settings: &Settings,
    wiring: Wiring,
    first: Document,
    open: Open,
    taking: &mut Option<Taking>,
) -> Result<Finish, Refusal> {
    let Wiring { facts, clock, counters, routes, rules, reports, state, findings, .. } = wiring;
    let Wiring { flows: notes, home, fed, tls, process, .. } = wiring;
    let shared = Shared { node_id: settings.node_id.as_str().into(), clock, facts, state, process };
    let Shared { node_id, facts, state, process, .. } = shared.clone();
    let Open { listeners, own, left, signals: (signals_out, signals) } = open;
    let (phase_out, phase) = watch::channel(Phase::Serving);
    let (wishes_out, wishes) = mpsc::channel(1);
    let notify = Arc::new(Notify::of_environment());
    let upgrades = Upgrades { phase: phase.clone(), wishes: wishes_out, notify: Arc::clone(&notify) };
    let kept_state = Arc::clone(&state);

    let audit = Audit::new(first.audit.clone(), findings, state, Arc::clone(&facts), Arc::clone(&node_id));
    let ruled = shared.supervise(&audit, first, signals, reports, upgrades)?;
    let Ruled { seen, bans, geoip, .. } = &ruled;
    let readiness = shared.watch_readiness();

    let trust = trust::follow(seen, facts.workers().len(), Arc::clone(&shared.process));
    let certificates = Certificates::follow(
        seen,
        certificates::Parts {
            kept: tls,
            facts: Arc::clone(&facts),
            audit: Arc::clone(&audit),
            process: Arc::clone(&shared.process),
        },
    );
    let clients = Arc::new(Clients::default());
    let around = kernel::Around {
        clock,
        facts: Arc::clone(&facts),
        process: Arc::clone(&shared.process),
        seen: seen.clone(),
        bans: bans.tables(),
        trust: trust.clone(),
        clients: Arc::clone(&clients),
        audit: Arc::clone(&audit),
    };
    let kernel = kernel::start(around, home.clone(), fed, taking.is_some());

    let performance = Arc::new(PerformanceMode::load(Arc::clone(&shared.state)));
    write_findings(&audit, seen, &performance);
    let flows = shared.follow_flows(notes, &kernel, seen, &performance, &counters);
    let explain = explainer(shared.process, seen, trust, bans, geoip);

    let Ruled { seen, flips, resolver, probe_counts, bans, .. } = ruled;
    let (management, metrics) = listeners.share(settings);
    let parts = GiverParts {
        command: settings.command.clone(),
        facts: Arc::clone(&facts),
        process: Arc::clone(&process),
        state: kept_state,
        audit: Arc::clone(&audit),
        kernel: kernel.clone(),
        home,
        management,
        metrics,
        notify: Arc::clone(&notify),
        phase: phase_out,
    };
    let giver = Giver::new(parts, own.as_ref());
    let finish = Finish { audit: Arc::clone(&audit), giver: Arc::clone(&giver), failed: Arc::default() };
    let arrival = taking.take().map(|taking| Arrival {
        taking,
        facts: Arc::clone(&facts),
        clock,
        process,
        kernel: kernel.clone(),
        bans: Arc::clone(&bans),
        performance: Arc::clone(&performance),
        audit: Arc::clone(&audit),
        signals: signals_out,
        failed: Arc::clone(&finish.failed),
    });
    let state = Arc::new(api::State {
        node_id,
        clock,
        started: clock(),
        hosts: settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        facts,
        counters,
        routes,
        rules,
        seen,
        flips,
        resolver,
        probe_counts,
        readiness,
        bans,
        audit: Arc::clone(&audit),
        clients,
        certificates,
        kernel,
        explain,
        flows,
        performance,
        window: api::Window::default(),
        answered: api::Answered::default(),
    });
    tokio::spawn(api::Window::run(Arc::clone(&state)));
    let facts = Arc::clone(&state.facts);
    let begin = move || {
        listeners.serve(state, &phase);
        tokio::spawn(giver.run(own, wishes));
        tokio::spawn(notify.run(facts, clock, phase));
        left.iter().for_each(|path| OwnSocket::remove(path));
    };
    match arrival {
        None => begin(),
        Some(arrival) => arrive_beside(arrival, begin)?,
    }
    Ok(finish)
}

/// Takes over on a thread of its own, which ends when the process before has.
fn arrive_beside(arrival: Arrival, begin: impl FnOnce() + Send + 'static) -> Result<(), Refusal> {
    let runtime = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new().name("weir-takeover".to_owned());
    thread.spawn(move || {
        let _within = runtime.enter();
        arrive(arrival, begin);
    })?;
    Ok(())
}

/// What of upgrades concerns who decides for the process.
struct Upgrades {
    phase: watch::Receiver<Phase>,
    wishes: mpsc::Sender<()>,
    notify: Arc<Notify>,
}

/// What nearly every task asks for.
#[derive(Clone)]
struct Shared {
    node_id: Arc<str>,
    clock: Clock,
    facts: Arc<Facts>,
    state: Arc<StateDir>,
    process: Arc<dyn Process>,
}

/// What the first configuration has set going.
struct Ruled {
    seen: Seen,
    flips: FlipTable,
    resolver: Arc<Resolver>,
    probe_counts: Arc<probe::Counts>,
    bans: Arc<BanList>,
    geoip: Arc<GeoFiles>,
}

impl Shared {
    /// Puts the first configuration in force, and starts what goes by the one in force.
    fn supervise(
        &self,
        audit: &Arc<Audit>,
        first: Document,
        signals: mpsc::Receiver<Signal>,
        Reported(reports): Reported,
        upgrades: Upgrades,
    ) -> Result<Ruled, Refusal> {
        let Upgrades { phase, wishes, notify } = upgrades;
        let Self { facts, clock, state, process, .. } = self;
        let (dns_out, dns) = mpsc::channel(EVENTS_MAX);
        let (probes_out, probes) = mpsc::channel(EVENTS_MAX);
        let denied = Arc::clone(audit);
        let found = Box::new(move |denial: &Denial<'_>| denied.found(denial));
        let resolver = Arc::new(Resolver::start(Arc::clone(facts), *clock, dns_out, found));
        let prober = probe::Prober::new(probes_out);
        let probe_counts = prober.counts();
        let bans = BanList::load(Arc::clone(state), Arc::clone(facts), *clock);
        let geoip = GeoFiles::new(Arc::clone(facts));
        let parts = Parts {
            facts: Arc::clone(facts),
            clock: *clock,
            process: Arc::clone(process),
            resolver: Arc::clone(&resolver),
            prober,
            bans: Arc::clone(&bans),
            geoip: Arc::clone(&geoip),
            notify,
            upgrades: wishes,
        };
        let (supervisor, seen) = Supervisor::new(parts, first)?;
        let flips = supervisor.flips();
        tokio::spawn(supervisor.run(signals, Events { phase, dns, probes, reports }));
        tokio::spawn(Arc::clone(&bans).run());
        tokio::spawn(Arc::clone(&geoip).run());
        Ok(Ruled { seen, flips, resolver, probe_counts, bans, geoip })
    }

    /// Keeps looking at whether weir is ready.
    fn watch_readiness(&self) -> watch::Receiver<Arc<Readiness>> {
        let missing = self.state.missing().map(|why| format!("nothing outlives the process: {why}"));
        self.facts.warn(STATE_MISSING, missing);
        let mut watching = ready::Watch::new(Arc::clone(&self.facts), self.clock, Arc::clone(&self.node_id));
        let (readiness_out, readiness) = watch::channel(Arc::new(watching.look()));
        tokio::spawn(watching.run(readiness_out));
        readiness
    }

    /// Keeps the table of flows, of what workers and the kernel tell.
    fn follow_flows(
        &self,
        notes: Arc<Notes>,
        kernel: &Kernel,
        seen: &Seen,
        performance: &Arc<PerformanceMode>,
        counters: &Arc<[Arc<Counters>]>,
    ) -> Arc<Flows> {
        let (bounds, lost) = (seen.clone(), Arc::clone(counters));
        let flows = Flows::new(flows::Parts {
            node_id: Arc::clone(&self.node_id),
            clock: self.clock,
            notes,
            source: Arc::clone(kernel.flows()) as Arc<dyn flows::source::FlowSource>,
            mode: Arc::clone(performance),
            limits: Box::new(move || (&bounds.standing().adopted.snapshot.document.flows).into()),
            notes_lost: Box::new(move || lost.iter().map(|counters| counters.lost_count(Queue::Flow)).sum()),
        });
        tokio::spawn(Arc::clone(&flows).run());
        flows
    }
}

/// Keeps findings as the configuration in force says, while weir observes.
fn write_findings(audit: &Arc<Audit>, seen: &Seen, performance: &Arc<PerformanceMode>) {
    let (asked, mode) = (seen.clone(), Arc::clone(performance));
    let settings = move || asked.standing().adopted.snapshot.document.audit.clone();
    tokio::spawn(Arc::clone(audit).run(settings, move || mode.is_enabled()));
}

/// Answers questions about requests by what is in force when they are asked.
fn explainer(
    process: Arc<dyn Process>,
    seen: &Seen,
    trust: watch::Receiver<Arc<Trust>>,
    bans: &BanList,
    geoip: &GeoFiles,
) -> Explain {
    let (asked, banned, located) = (seen.clone(), bans.tables(), geoip.tables());
    Box::new(move |question: &Question| {
        let standing = asked.standing();
        let (trust, bans) = (Arc::clone(&trust.borrow()), Arc::clone(&banned.borrow()));
        let geoip = Arc::clone(&located.borrow());
        let (snapshot, live) = (&*standing.adopted.snapshot, &*standing.live);
        process.explain(question, &Ground { snapshot, live, trust: &trust, bans: &bans, geoip: &geoip })
    })
}
