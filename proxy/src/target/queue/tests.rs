//! Order, bounds, and the promise that no freed slot is lost, over several workers.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::*;
use crate::target::balance::{Balancers, Pick, Picked};
use crate::target::live::Live;
use crate::target::testing::{FIRST, Request, START, ask, route, weighted};

#[derive(Default)]
struct Flag(AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn a_line_is_first_in_first_out_and_bounded() {
    let mut line = Line::default();
    let places: Vec<u64> = (0..3).map(|_| line.enter(3).unwrap()).collect();
    assert_eq!(line.enter(3), Err(Refused::Full));
    assert!(line.look(places[0]), "the first looks at once");
    assert!(!line.look(places[0]) && !line.look(places[1]));
    assert_eq!((line.call(), line.call()), (Some(places[0]), Some(places[1])));
    assert!(line.leave(places[0]), "it was called: somebody else has to look");
    assert!(!line.leave(places[2]), "it was not");
    assert_eq!(line.len(), 1);
}

#[test]
fn a_line_agrees_with_a_plain_list() {
    let mut rng = fastrand::Rng::with_seed(50);
    for _ in 0..300 {
        let (mut line, max) = (Line::default(), rng.usize(1..8));
        // The oracle: places with whether they are called.
        let mut plain: Vec<(u64, bool)> = Vec::new();
        for _ in 0..100 {
            match rng.u32(..4) {
                0 => match line.enter(max) {
                    Ok(number) => {
                        assert!(plain.len() < max);
                        plain.push((number, plain.is_empty()));
                    }
                    Err(Refused::Full) => assert_eq!(plain.len(), max),
                },
                1 => {
                    let oldest = plain.iter_mut().find(|place| !place.1);
                    let called = line.call();
                    if let Some(oldest) = oldest {
                        oldest.1 = true;
                        assert_eq!(called, Some(oldest.0));
                    }
                }
                2 if !plain.is_empty() => {
                    let at = rng.usize(..plain.len());
                    let called = plain[at].1;
                    assert_eq!(line.look(plain[at].0), called);
                    // Looked in vain: asks again.
                    assert!(!line.look(plain[at].0));
                    plain[at].1 = false;
                }
                _ if !plain.is_empty() => {
                    let (number, called) = plain.remove(rng.usize(..plain.len()));
                    assert_eq!(line.leave(number), called);
                }
                _ => {}
            }
            assert_eq!(line.len(), plain.len());
        }
    }
}

/// Workers whose requests are stepped by hand, with wakes between them that arrive late and in order.
struct World {
    live: Live,
    workers: Vec<Balancers>,
    mail: Rc<RefCell<VecDeque<Wake>>>,
    waiters: Vec<Waiter>,
    held: Vec<Picked>,
}

struct Waiter {
    worker: usize,
    arrival: usize,
    ticket: Ticket,
    flag: Arc<Flag>,
}

enum Step {
    Served(Picked),
    Waits,
}

impl World {
    fn new(workers: usize, keys: &str, targets: usize) -> Self {
        let live = Live::initial(&[weighted(keys, &vec![1; targets])], workers, None, START);
        let mail: Rc<RefCell<VecDeque<Wake>>> = Rc::default();
        let post = |mail: Rc<RefCell<VecDeque<Wake>>>| move |wake| mail.borrow_mut().push_back(wake);
        let workers = (0..workers).map(|at| Balancers::new(at, at as u64, post(mail.clone()))).collect();
        Self { live, workers, mail, waiters: Vec::new(), held: Vec::new() }
    }

    fn pick(&mut self, worker: usize) -> Option<Picked> {
        let request = Request::default();
        match self.workers[worker].of(route(&self.live)).pick(route(&self.live), &ask(&request, START)) {
            Pick::Endpoint(picked) => Some(picked),
            Pick::Full => None,
            Pick::Unusable => panic!("all are well"),
        }
    }

    fn arrive(&mut self, worker: usize, arrival: usize) {
        let line = self.workers[worker].of(route(&self.live)).has_line(route(&self.live), FIRST);
        if let Some(picked) = (!line).then(|| self.pick(worker)).flatten() {
            self.held.push(picked);
            return;
        }
        if let Ok(ticket) = self.workers[worker].of(route(&self.live)).enter(route(&self.live), FIRST) {
            let flag = Arc::new(Flag(AtomicBool::new(true)));
            self.waiters.push(Waiter { worker, arrival, ticket, flag });
        }
    }

    /// Runs a waiter's task until it waits or is served.
    fn run(&mut self, at: usize) -> Step {
        self.waiters[at].flag.0.store(false, SeqCst);
        let waker = self.waiters[at].flag.clone().into();
        let mut context = Context::from_waker(&waker);
        while self.waiters[at].ticket.poll_turn(&mut context).is_ready() {
            if let Some(picked) = self.pick(self.waiters[at].worker) {
                return Step::Served(picked);
            }
        }
        Step::Waits
    }

    fn run_woken(&mut self, choice: usize) -> Option<(usize, usize)> {
        let woken: Vec<usize> = (0..self.waiters.len()).filter(|&at| self.waiters[at].flag.0.load(SeqCst)).collect();
        let at = *woken.get(choice % woken.len().max(1))?;
        let Step::Served(picked) = self.run(at) else { return None };
        self.held.push(picked);
        let waiter = self.waiters.remove(at);
        Some((waiter.worker, waiter.arrival))
    }

    fn deliver(&mut self) -> bool {
        let Some(wake) = self.mail.borrow_mut().pop_front() else { return false };
        self.workers[wake.worker].wake(wake);
        true
    }

    fn is_awake(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.flag.0.load(SeqCst))
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            while self.deliver() {}
            if !self.is_awake() {
                return;
            }
            self.run_woken(0);
        }
        panic!("wakes go round for ever");
    }

    fn free_slots(&self) -> u32 {
        let endpoints = route(&self.live).group_endpoints(0);
        endpoints.map(|(_, _, endpoint)| 2 - endpoint.cells.inflight()).sum()
    }
}

#[test]
fn no_freed_slot_is_lost() {
    let mut rng = fastrand::Rng::with_seed(51);
    for round in 0..300 {
        let keys = "[route.limits]\ninflight_max = 2\nqueue_max = 4";
        let mut world = World::new(rng.usize(1..4), keys, rng.usize(1..3));
        for step in 0..150 {
            let worker = rng.usize(..world.workers.len());
            match rng.u32(..6) {
                0 | 1 => world.arrive(worker, step),
                2 if !world.held.is_empty() => drop(world.held.swap_remove(rng.usize(..world.held.len()))),
                3 if !world.waiters.is_empty() && rng.u32(..3) == 0 => {
                    drop(world.waiters.remove(rng.usize(..world.waiters.len())));
                }
                4 => drop(world.deliver()),
                _ => drop(world.run_woken(rng.usize(..8))),
            }
        }
        world.settle();
        assert!(world.waiters.is_empty() || world.free_slots() == 0, "round {round}");
        while let Some(picked) = world.held.pop() {
            drop(picked);
            world.settle();
        }
        assert!(world.waiters.is_empty(), "round {round}");
        assert_eq!(world.live.routes()[0].parts()[0].waiting.total(), 0);
    }
}

#[test]
fn one_worker_serves_in_order_of_arrival() {
    let mut world = World::new(1, "[route.limits]\ninflight_max = 2", 1);
    (0..20).for_each(|arrival| world.arrive(0, arrival));
    assert_eq!((world.held.len(), world.waiters.len()), (2, 18));
    let mut served = Vec::new();
    while !world.waiters.is_empty() {
        while world.is_awake() {
            served.extend(world.run_woken(0));
        }
        if !world.held.is_empty() && !world.waiters.is_empty() {
            drop(world.held.remove(0));
        }
    }
    assert_eq!(served, (2..20).map(|arrival| (0, arrival)).collect::<Vec<_>>());
}

#[test]
fn a_slot_freed_here_goes_to_this_workers_oldest_first() {
    let mut world = World::new(2, "[route.limits]\ninflight_max = 1", 1);
    world.arrive(0, 0);
    world.arrive(1, 1);
    world.arrive(0, 2);
    while world.is_awake() {
        world.run_woken(0);
    }
    drop(world.held.remove(0));
    assert!(world.mail.borrow().is_empty(), "nothing is sent while somebody waits here");
    assert_eq!(world.run_woken(0), Some((0, 2)));
    world.settle();
    drop(world.held.remove(0));
    assert_eq!(world.mail.borrow().front().map(|wake| wake.worker), Some(1));
    world.settle();
    assert!(world.waiters.is_empty());
}

#[test]
fn the_line_is_bounded_and_no_wait_means_none() {
    let mut world = World::new(1, "[route.limits]\ninflight_max = 1\nqueue_max = 2", 1);
    (0..5).for_each(|arrival| world.arrive(0, arrival));
    assert_eq!((world.held.len(), world.waiters.len()), (1, 2));
    let mut world = World::new(1, "[route.limits]\ninflight_max = 1\nqueue_timeout = 0", 1);
    (0..5).for_each(|arrival| world.arrive(0, arrival));
    assert_eq!((world.held.len(), world.waiters.len()), (1, 0));
}

#[test]
fn a_new_table_has_everyone_look() {
    let mut world = World::new(1, "[route.limits]\ninflight_max = 1", 1);
    (0..3).for_each(|arrival| world.arrive(0, arrival));
    while world.is_awake() {
        world.run_woken(0);
    }
    let routes = world.live.routes().to_vec();
    world.workers[0].follow(&routes);
    assert!(world.waiters.iter().all(|waiter| waiter.flag.0.load(SeqCst)));
}
