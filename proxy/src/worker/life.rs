//! A worker's own task: what it does with its messages, its beat, its end.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Adoption, Current, Message, Worker};
use crate::base::metric::Limit;
use crate::base::{Instant, Reason};
use crate::control::facts::BEAT;
use crate::control::port::Kept;
use crate::listen::{Client, Told};
use crate::policy::ban::Bans;
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::ring::{self, Either, Mailbox, Timer, select2, sleep_until};
use crate::tls::Stores;

/// How long connections that were cut may take to unwind: they only have to be polled once.
const UNWIND: Duration = Duration::from_secs(1);
/// Idle upstream connections are looked through each so many beats.
const SWEEP_BEATS: u64 = 4;

/// Lives until a drain is over.
pub(super) async fn live(worker: Rc<Worker>, mailbox: Mailbox<Message>, first: Adoption) {
    worker.adopt(first);
    ring::spawn(beat(worker.clone()));
    ring::spawn(tick_logs(worker.clone()));
    ring::spawn(super::findings::send(worker.clone()));
    ring::spawn(super::kernel::send(worker.clone()));
    loop {
        match mailbox.recv().await {
            Message::Drain { deadline, kept } => return drain(&worker, &mailbox, deadline, &kept).await,
            message => worker.take(message),
        }
    }
}

async fn beat(worker: Rc<Worker>) {
    for turn in 0_u64.. {
        let now = ring::now();
        worker.wall.refresh(now);
        worker.facts.workers()[worker.number].beat(now);
        if turn.is_multiple_of(SWEEP_BEATS) {
            worker.pool.borrow_mut().sweep(now);
            worker.sessions.borrow_mut().sweep(worker.current().pool_bounds());
        }
        if (worker.missed_wakes)() {
            worker.balancers.borrow_mut().follow(worker.current().live.routes());
        }
        worker.forget_retired();
        worker.flows.beat();
        worker.publish();
        sleep_until(now + BEAT).await;
    }
}

/// Hands lines over that have waited as long as their log lets them.
async fn tick_logs(worker: Rc<Worker>) {
    loop {
        let now = ring::now();
        let current = worker.current();
        current.logs.iter().for_each(|log| log.borrow_mut().tick(now));
        let shortest = current.snapshot.access_logs.iter().map(|plan| plan.settings.flush).min();
        drop(current);
        sleep_until(now + shortest.unwrap_or(BEAT).min(BEAT)).await;
    }
}

async fn drain(worker: &Rc<Worker>, mailbox: &Mailbox<Message>, mut deadline: Instant, kept: &Kept) {
    worker.draining.set(true);
    worker.stop_listening(kept);
    worker.tell_all(Told::Finish, |_| true);
    let timer = Timer::new();
    while !worker.is_idle() {
        timer.set(Some(deadline));
        match timer.race(select2(mailbox.recv(), worker.empty.wait())).await {
            Ok(Either::Left(Message::Drain { deadline: sooner, .. })) => deadline = deadline.min(sooner),
            Ok(Either::Left(message)) => worker.take(message),
            Ok(Either::Right(())) => {}
            Err(_) => break,
        }
    }
    worker.tell_all(Told::Cut, |_| true);
    let unwound = ring::now() + UNWIND;
    while !worker.clients.borrow().is_empty() && ring::now() < unwound {
        timer.set(Some(unwound));
        let _ = timer.race(worker.empty.wait()).await;
    }
    worker.current().logs.iter().for_each(|log| log.borrow_mut().flush());
    worker.send_findings();
    worker.publish();
}

impl Worker {
    fn take(self: &Rc<Self>, message: Message) {
        match message {
            Message::Adopt(adoption) => self.adopt(*adoption),
            Message::Live(live) => self.follow(live),
            Message::Trust(generation, trust) => self.trust(generation, trust),
            Message::Tls(generation, stores) => self.show(generation, stores),
            Message::Bans(bans) => self.ban(bans),
            Message::GeoIp(geoip) => self.locate(geoip),
            Message::Listen(socket) => self.listen(socket),
            // Who asked may have given up waiting.
            Message::ShareListeners(tell) => drop(tell.send(self.listening())),
            Message::KernelDenied(denied) => self.cut_denied(&denied),
            Message::Wake(wake) => self.balancers.borrow().wake(wake),
            Message::FlushLogs(told) => {
                self.current().logs.iter().for_each(|log| log.borrow_mut().flush());
                // Who asked may have given up waiting.
                let _ = told.send(());
            }
            Message::Drain { .. } => {}
        }
    }

    fn adopt(self: &Rc<Self>, new: Adoption) {
        let generation = new.snapshot.generation;
        let current = Rc::new(Current::of(&new));
        let before = self.current.replace(current.clone());
        self.retire(&before, &current);
        self.balancers.borrow_mut().follow(current.live.routes());
        let listens = |name: &str, address: &str| {
            let raw = current.snapshot.document.listeners.iter().find(|one| one.enabled && one.name == name);
            raw.is_some_and(|one| one.bind.iter().any(|bind| bind.to_string() == address))
        };
        self.rename_bound();
        self.stop_listening_unless(listens);
        self.reset_banned();
        new.sockets.into_iter().for_each(|socket| self.listen(socket));
        self.facts.workers()[self.number].adopted(generation);
    }

    /// Keeps `before` for the clients of listeners that `current` has no more: they finish as they began.
    fn retire(&self, before: &Rc<Current>, current: &Current) {
        let stays = |name: &str| current.snapshot.listeners.iter().any(|plan| *plan.name == *name);
        let mut retired = self.retired.borrow_mut();
        retired.retain(|name, _| !stays(name));
        let gone = before.snapshot.listeners.iter().filter(|plan| !stays(&plan.name));
        retired.extend(gone.map(|plan| (plan.name.clone(), before.clone())));
    }

    /// Forgets listeners whose last client has left.
    fn forget_retired(&self) {
        let mut retired = self.retired.borrow_mut();
        if !retired.is_empty() {
            let clients = self.clients.borrow();
            retired.retain(|name, _| clients.iter().any(|(_, client)| client.listener == *name));
        }
    }

    /// New endpoints, same configuration.
    fn follow(&self, live: Arc<crate::target::Live>) {
        let current = self.current();
        // A table of an older generation may cross a newer adoption on the way.
        if live.epoch() <= current.live.epoch() {
            return;
        }
        self.balancers.borrow_mut().follow(live.routes());
        self.current.replace(Rc::new(current.with_live(live)));
    }

    /// Other trusted peers, same configuration.
    fn trust(&self, generation: u64, trust: Arc<Trust>) {
        let current = self.current();
        if current.snapshot.generation == generation {
            self.current.replace(Rc::new(current.with_trust(trust)));
            // A peer that is trusted no longer may be banned.
            self.reset_banned();
        }
    }

    /// Other certificates, same configuration: for handshakes that begin now.
    fn show(&self, generation: u64, stores: Arc<Stores>) {
        let current = self.current();
        if current.snapshot.generation == generation {
            self.current.replace(Rc::new(current.with_tls(stores)));
        }
    }

    /// New bans, same configuration; those who left stay free, and clients of listeners that are gone are banned too.
    fn ban(&self, bans: Arc<Bans>) {
        let current = Rc::new(self.current().with_bans(bans.clone()));
        self.current.replace(current);
        for retired in self.retired.borrow_mut().values_mut() {
            *retired = Rc::new(retired.with_bans(bans.clone()));
        }
        self.reset_banned();
    }

    /// Other databases of addresses, same configuration.
    fn locate(&self, geoip: Arc<GeoIp>) {
        self.current.replace(Rc::new(self.current().with_geoip(geoip)));
    }

    /// Resets the connections of peers that are banned by now.
    fn reset_banned(&self) {
        let (current, now) = (self.current(), ring::now());
        if !current.bans.is_empty() {
            self.reset_peers(Reason::Banned, Client::peer_ip, |ip| current.bans.lookup(ip, now).is_some());
        }
    }

    /// Resets the connections at whose end, as `end` sees it, one of these is, whatever goes on there; trusted ones stay.
    pub(super) fn reset_peers(
        &self,
        reason: Reason,
        end: impl Fn(&Client) -> Option<IpAddr>,
        concerns: impl Fn(IpAddr) -> bool,
    ) {
        let current = self.current();
        let of = |client: &Client| end(client).filter(|ip| !current.is_trusted_proxy(&client.listener, Some(*ip)));
        for (_, client) in self.clients.borrow().iter() {
            if client.told() != Told::Cut && of(client).is_some_and(&concerns) {
                client.reset(reason);
                self.counters.connections_reset.add(1);
            }
        }
    }

    /// Copies what the ring and the pool count to the cells that control reads.
    fn publish(&self) {
        let (stats, counters) = (ring::stats(), &self.counters);
        counters.ring_submission_full.set(stats.sq_full.get());
        counters.ring_completion_overflow.set(stats.cq_overflow.get());
        counters.ring_no_buffers.set(stats.enobufs.get());
        counters.ring_no_descriptors.set(stats.emfile.get());
        counters.ring_operations.set(stats.ops.get());
        counters.ring_buffers_out.set(stats.buffers_out.get());
        let (mut pool, mut sessions) = (self.pool.borrow_mut(), self.sessions.borrow_mut());
        counters.upstream_idle.set((pool.len() + sessions.idle()) as u64);
        let dropped = pool.take_dropped();
        counters.upstream_unexpected.add(dropped.unexpected_data);
        counters.limit_times(Limit::PoolIdle, dropped.evicted + sessions.take_evicted());
    }
}
