//! What a connection's task and those of its requests share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use slab::Slab;

use super::super::{Scratch, answer, plan_of};
use crate::base::{Instant, Reason};
use crate::listen::{Client, Told};
use crate::ring::{self, Event};
use crate::wire::Port;
use crate::wire::meter::Noted;
use crate::worker::Worker;

/// Scratches that are kept for requests to come.
const SPARE_MAX: usize = 8;

/// One connection, as its requests see it.
pub(super) struct Shared {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Rc<Client>,
    live: RefCell<Slab<Rc<Client>>>,
    idle_since: Cell<Instant>,
    /// The connection's task.
    waker: RefCell<Option<Waker>>,
    empty: Event,
    #[expect(clippy::vec_box, reason = "they move between this and exchanges, and are large")]
    spare: RefCell<Vec<Box<Scratch>>>,
}

impl Shared {
    pub(super) fn new(worker: Rc<Worker>, client: Rc<Client>) -> Rc<Self> {
        Rc::new(Self {
            worker,
            client,
            live: RefCell::default(),
            idle_since: Cell::new(ring::now()),
            waker: RefCell::default(),
            empty: Event::new(),
            spare: RefCell::default(),
        })
    }

    /// An exchange begins; it ends when the guard is dropped.
    pub(super) fn enter(self: &Rc<Self>, stream: Rc<Client>) -> Entered {
        let key = self.live.borrow_mut().insert(stream);
        Entered { shared: self.clone(), key }
    }

    /// Exchanges that have not ended.
    pub(super) fn live(&self) -> usize {
        self.live.borrow().len()
    }

    /// Since when there is none.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.live.borrow().is_empty().then(|| self.idle_since.get())
    }

    /// Whose task is to be woken once there is none.
    pub(super) fn wakes(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Waits until there is none.
    pub(super) async fn empty(&self) {
        while self.live() > 0 {
            self.empty.wait().await;
        }
    }

    /// Ends all exchanges, as their connection was.
    pub(super) fn cut(&self) {
        for (_, stream) in self.live.borrow().iter().filter(|(_, stream)| stream.told() != Told::Cut) {
            stream.cut_off(self.client.cut());
        }
    }

    pub(super) fn scratch(&self) -> Box<Scratch> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Box::new(Scratch::new()))
    }

    pub(super) fn give_back(&self, scratch: Box<Scratch>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(scratch);
        }
    }

    /// Records what the codec answered without anybody hearing of it.
    pub(super) fn book(&self, port: &Port) {
        let Some(meter) = &port.meter else { return };
        if !meter.borrow().has_noted() {
            return;
        }
        let noted = meter.borrow_mut().take_noted();
        noted.into_iter().for_each(|noted| {
            self.refused(match noted {
                Noted::TooLarge => Reason::HeadersTooLarge,
                Noted::Malformed => Reason::H2Malformed,
                Noted::Flood => Reason::H2Flood,
            });
        });
    }

    /// Records a refusal below any exchange.
    pub(super) fn refused(&self, reason: Reason) {
        let current = self.worker.current_of(&self.client.listener);
        if let Some(listener) = plan_of(&current, &self.client) {
            answer::refused_below(&self.worker, &self.client, &current, listener, reason);
        }
    }
}

/// An exchange's place among those of its connection.
pub(super) struct Entered {
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Self { shared, key } = self;
        let stream = shared.live.borrow_mut().remove(*key);
        drop(stream);
        if shared.live() == 0 {
            shared.idle_since.set(ring::now());
            shared.empty.notify();
            if let Some(waker) = shared.waker.take() {
                waker.wake();
            }
        }
    }
}
