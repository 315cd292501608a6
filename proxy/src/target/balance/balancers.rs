//! One worker's balancers, by route, and its end of the wakes between workers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;

use super::local::Local;
use super::{Balancer, Turns, weighted_round_robin};
use crate::target::cells::EndpointId;
use crate::target::groups::Groups;
use crate::target::live::{Endpoint, Part, RouteLive, TargetLive};
use crate::target::queue::{Far, Queue, Wake};

/// A worker's balancers. They belong to the worker, not to a generation: a route keeps its own by its number.
#[derive(Debug)]
pub struct Balancers {
    worker: usize,
    seed: u64,
    far: Far,
    routes: HashMap<u32, Balancer, BuildHasherDefault<RouteHasher>>,
}

/// Route numbers are the document's, not a peer's: one multiplication spreads them well enough.
#[derive(Default)]
struct RouteHasher(u64);

impl Hasher for RouteHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(self.0 as u32 ^ u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Balancers {
    /// Those of the worker numbered `worker`; `far` sends a wake to another worker's [`Balancers::wake`].
    pub fn new(worker: usize, seed: u64, far: impl Fn(Wake) + 'static) -> Self {
        Self { worker, seed, far: Far(Rc::new(far)), routes: HashMap::default() }
    }

    /// The route's balancer, made at its first request.
    pub fn of(&mut self, live: &RouteLive) -> &mut Balancer {
        let Self { worker, seed, far, routes } = self;
        let route = live.groups().route;
        routes.entry(route).or_insert_with(|| Balancer::new(*worker, *seed ^ u64::from(route), far.clone()))
    }

    /// A slot of this group came free on another worker.
    pub fn wake(&self, wake: Wake) {
        let queues = self.routes.values().flat_map(|balancer| &balancer.groups).map(|group| &group.queue);
        if let Some(queue) = queues.into_iter().find(|queue| queue.waiting().id() == wake.group) {
            queue.freed();
        }
    }

    /// A new table came: everyone who waits looks again, and state of routes that are gone is dropped.
    pub fn follow(&mut self, routes: &[Arc<RouteLive>]) {
        let known: HashMap<u32, &Arc<RouteLive>> = routes.iter().map(|route| (route.groups().route, route)).collect();
        self.routes.retain(|route, balancer| {
            if let Some(live) = known.get(route) {
                balancer.follow(live);
            }
            known.contains_key(route) || balancer.groups.iter().any(|group| !group.queue.is_empty())
        });
        self.routes.values().flat_map(|balancer| &balancer.groups).for_each(|group| group.queue.call_all());
    }
}

impl Balancer {
    fn new(worker: usize, seed: u64, far: Far) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { worker, epoch: 0, far, rng, shape: None, groups: Vec::new(), turns: Vec::new(), locals: Vec::new() }
    }

    /// Takes over another table of the route: a newer one, or an older one that a request still holds.
    pub(super) fn follow(&mut self, live: &RouteLive) {
        if self.epoch == live.epoch() {
            return;
        }
        self.epoch = live.epoch();
        let same_generation = self.shape.as_ref().is_some_and(|shape| Arc::ptr_eq(shape, live.groups()));
        if !same_generation {
            self.reshape(live);
        }
        self.relocate(live);
    }

    fn reshape(&mut self, live: &RouteLive) {
        let groups = live.groups();
        let old = std::mem::take(&mut self.groups);
        self.groups = live.parts().iter().enumerate().map(|(at, part)| self.turns_of(groups, at, part, &old)).collect();
        self.turns = vec![self.worker; groups.targets.len()];
        self.shape = Some(groups.clone());
    }

    fn turns_of(&self, groups: &Groups, at: usize, part: &Part, old: &[Turns]) -> Turns {
        let targets = &groups.groups[at].targets;
        let weights: Vec<u32> = targets.iter().map(|&target| groups.targets[usize::from(target)].weight).collect();
        let queue = old.iter().map(|turns| &turns.queue).find(|queue| queue.waiting().id() == part.waiting.id());
        Turns {
            cursor: self.worker % targets.len().max(1),
            smooth: weighted_round_robin::start(&weights, self.worker),
            queue: queue.cloned().unwrap_or_else(|| Queue::new(self.worker, part.waiting.clone(), self.far.clone())),
        }
    }

    fn relocate(&mut self, live: &RouteLive) {
        let old: HashMap<EndpointId, Rc<Local>> =
            self.locals.drain(..).flatten().map(|local| (local.cells.id(), local)).collect();
        let groups = live.groups();
        let reports = groups.outlier.is_some();
        let of = |(at, target): (usize, &TargetLive)| {
            // A disabled target has no group, no line and no requests.
            let Some(group) = groups.targets[at].group else { return Vec::new() };
            let queue = &self.groups[usize::from(group)].queue;
            let local = |endpoint: &Endpoint| {
                let before = old.get(&endpoint.cells.id());
                let reports = reports && endpoint.address.is_some();
                let kept = before.filter(|local| local.is(queue, reports));
                let made = || Local::new(endpoint.cells.clone(), queue.clone(), reports, before.map(|local| &**local));
                kept.cloned().unwrap_or_else(made)
            };
            target.endpoints.iter().map(local).collect()
        };
        self.locals = live.targets().iter().enumerate().map(of).collect();
    }
}
