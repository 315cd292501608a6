//! The policies that a request meets between its head and its route: ban, requests in flight, rate limits.

use std::net::IpAddr;
use std::sync::Arc;

use super::Exchange;
use super::record::Record;
use super::relay::gone;
use crate::base::metric::{Limit, Phase};
use crate::base::{Fault, Reason};
use crate::config::value::{Protocol, RuleMode};
use crate::http::Paths;
use crate::listen::{Counted, Crowded, Place};
use crate::policy::finding::{Action, Denial, Kind};
use crate::policy::identity::Identity;
use crate::policy::limit::{self, Charge, Wait};
use crate::policy::tier::Tiered;
use crate::policy::{Facts, Rule, Source, Tls};
use crate::ring::{self, Either, select2, sleep_until};

/// Which rule refused a request.
#[derive(Clone, Debug)]
pub(super) enum Decider {
    /// The ban of this name.
    Ban(Arc<str>),
    /// The rate limit at this place in their order.
    Limit(usize),
}

impl<'a> Exchange<'a> {
    /// Asks them in order. The place among the client's requests is held until the request is over.
    pub(super) async fn policies(&mut self, paths: &Paths<'_>, record: &mut Record) -> Result<Option<Place>, Fault> {
        let client = self.who?.identity;
        self.check_ban(client, record)?;
        let place = self.place(client)?;
        if let Some(wait) = self.charge(paths, record)? {
            Box::pin(self.wait(wait, record)).await?;
        }
        Ok(place)
    }

    fn check_ban(&self, client: Identity, record: &mut Record) -> Result<(), Fault> {
        let bans = &self.current.bans;
        let Some(ip) = client.ip().filter(|_| !bans.is_empty()) else { return Ok(()) };
        match bans.lookup(ip, ring::now()).filter(|_| !self.is_trusted_proxy(ip)) {
            Some(hit) => {
                record.decider = Some(Decider::Ban(hit.ban.rule.clone()));
                Err(Fault::new(Reason::Banned))
            }
            None => Ok(()),
        }
    }

    fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        self.current.is_trusted_proxy(&self.listener.1.name, Some(ip))
    }

    /// A place among the client's requests in flight, if those are limited. Trusted proxies, which speak for many, and
    /// clients that nobody knows are not counted.
    fn place(&self, client: Identity) -> Result<Option<Place>, Fault> {
        let max = self.current.snapshot.document.connections.requests_per_client_max;
        let Some(ip) = client.ip().filter(|ip| max != 0 && !self.is_trusted_proxy(*ip)) else {
            return Ok(None);
        };
        let member = self.worker.crowd.member(ip);
        self.worker.enter_crowd(Counted::Requests, member, max).map_err(|Crowded| {
            self.worker.counters.limit(Limit::RequestsPerClient);
            Fault::new(Reason::ClientConcurrency)
        })
    }

    /// Charges all rate limits that match, in order, until one denies; the longest wait that they ask for.
    fn charge(&mut self, paths: &Paths<'_>, record: &mut Record) -> Result<Option<Wait>, Fault> {
        let current = self.current;
        let rules = &current.snapshot.rate_limits;
        if rules.is_empty() {
            return Ok(None);
        }
        let facts = self.facts_for_rules(paths);
        let mut longest: Option<Wait> = None;
        for rule in rules.matching(&facts, &current.limit_cells) {
            let limiter = &rule.action.limiter;
            let counters = current.limit_cells.slot(rule.slot);
            let charge = limiter.charge(limiter.key(&facts), ring::now(), counters);
            if rule.mode == RuleMode::Shadow {
                self.note_shadow(rule, &charge, record);
                continue;
            }
            self.told.push(&rule.action, &charge);
            match charge {
                Charge::Admitted(_) => {}
                Charge::Delayed(_, wait) if longest.as_ref().is_some_and(|longest| longest.time >= wait.time) => {}
                Charge::Delayed(_, wait) => longest = Some(wait),
                Charge::Denied { full, .. } => return Err(self.deny(rule, full, record)),
            }
        }
        Ok(longest)
    }

    /// Where rules find what they ask of the request.
    pub(super) fn facts_for_rules<'f>(&self, paths: &'f Paths<'f>) -> Facts<'f>
    where
        'a: 'f,
    {
        Facts::new(Source {
            request: self.request,
            paths,
            client: self.client_ip(),
            peer: self.client.peer_ip(),
            listener: &self.listener.1.name,
            port: self.client.port,
            protocol: if self.client.secured().is_some() { Protocol::Https } else { Protocol::Http },
            tls: self.client.secured().map(|tls| Tls { version: tls.version.text(), sni: tls.sni.as_deref() }),
            geoip: Some(&self.current.geoip),
        })
    }

    /// Who is denied for want of room has not been over the limit: that never leads to the kernel.
    fn deny(&self, rule: &Rule<limit::Limit>, full: bool, record: &mut Record) -> Fault {
        self.current.limit_cells.slot(rule.slot).denied.add(1);
        record.decider = Some(Decider::Limit(rule.slot));
        if let Some(tier) = rule.action.tier.as_ref().filter(|_| !full)
            && let Tiered::Promoted(promotion) = tier.denied(self.identity(), ring::now())
        {
            self.worker.promote(promotion);
        }
        Fault::new(Reason::RateLimited).status(rule.action.denial.status)
    }

    /// A shadow is charged, and neither delays nor denies.
    fn note_shadow(&self, rule: &Rule<limit::Limit>, charge: &Charge, record: &Record) {
        if let Charge::Denied { .. } = charge {
            self.current.limit_cells.slot(rule.slot).shadow.add(1);
            let denial = Denial::new(Kind::RateLimited, "rate_limit", &rule.name, Reason::RateLimited);
            let status = rule.action.denial.status;
            self.find(Denial { action: Action::WouldDeny, status, ..denial }, record);
        }
    }

    async fn wait(&self, wait: Wait, record: &mut Record) -> Result<(), Fault> {
        let began = ring::now();
        let turn = select2(sleep_until(began + wait.time), self.client.socket.failed());
        let waited = self.client.within(self.deadline, turn).await;
        record.spent(Phase::Policy, began, ring::now());
        match waited {
            Ok(Either::Left(())) => Ok(()),
            Ok(Either::Right(())) => Err(gone(self.client)),
            Err(stopped) => Err(self.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout))),
        }
    }

    /// Names the ban that cut a request off.
    pub(super) fn note_cut(&self, record: &mut Record) {
        if record.reason == Reason::Banned
            && record.decider.is_none()
            && let Some(peer) = self.client.peer_ip()
        {
            // It is younger than what the request goes by.
            let bans = self.worker.current().bans.clone();
            record.decider = bans.lookup(peer, ring::now()).map(|hit| Decider::Ban(hit.ban.rule.clone()));
        }
    }

    /// Adds a denial of this request to the findings.
    pub(super) fn find(&self, denial: Denial<'_>, record: &Record) {
        let client = self.client_ip();
        let (listener, host) = (&*self.listener.1.name, self.request.host());
        let dst_port = Some(self.client.port).filter(|port| *port != 0);
        let sni = self.client.secured().and_then(|tls| tls.sni.as_deref()).unwrap_or_default();
        self.worker.found(&Denial { listener, host, sni, dst_port, client, request: Some(record.id), ..denial });
    }

    /// Whether a request ended in a denial, and of which table and rule.
    pub(super) fn denial<'r>(&'r self, record: &'r Record) -> Option<Denial<'r>> {
        let reason = record.reason;
        let kind = Kind::of(reason)?;
        let (table, rule) = match (&record.decider, reason) {
            (Some(decider), _) => (decider.table(), self.rule_name(decider)),
            (None, Reason::ClientConcurrency) => ("connections", Limit::RequestsPerClient.token()),
            (None, Reason::Banned) => ("ban", ""),
            (None, Reason::KernelDenied) => ("kernel", ""),
            (None, _) if kind == Kind::TlsDeny => ("tls", reason.token()),
            (None, _) => ("http", reason.token()),
        };
        Some(Denial { status: record.status, ..Denial::new(kind, table, rule, reason) })
    }

    /// The rate limit that refused a request.
    pub(super) fn denier(&self, record: &Record) -> Option<&'a Rule<limit::Limit>> {
        match record.decider {
            Some(Decider::Limit(slot)) => self.current.snapshot.rate_limits.iter().nth(slot),
            _ => None,
        }
    }

    fn rule_name<'r>(&self, decider: &'r Decider) -> &'r str
    where
        'a: 'r,
    {
        match decider {
            Decider::Ban(rule) => rule,
            Decider::Limit(slot) => self.current.snapshot.rate_limits.iter().nth(*slot).map_or("", |rule| &rule.name),
        }
    }
}

impl Decider {
    fn table(&self) -> &'static str {
        match self {
            Self::Ban(_) => "ban",
            Self::Limit(_) => "rate_limit",
        }
    }
}
