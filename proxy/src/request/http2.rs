//! HTTP/2 with a client (RFC 9113): one task drives the connection's codec, and each request is a task of its own on the
//! one path of all requests, with a [`Client`] that stands for its stream.

mod exchange;
mod shared;
mod watch;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Request;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};

use self::shared::Shared;
use self::watch::{Due, Facts, Watch};
use super::body::close_gently;
use super::{KNOWN_AGAIN, plan_of};
use crate::base::{Instant, Reason};
use crate::config::raw::{Http2, Timeouts};
use crate::config::snapshot::ListenerPlan;
use crate::listen::{Client, Doing, Stopped, deadline};
use crate::ring::{self, Timer};
use crate::wire::{Adapter, Meter, Payload, Port};
use crate::worker::{Registered, Worker};

/// Content of a stream that the codec may hold for it.
const SEND_BUFFER: usize = 64 * 1024;
/// Octets that HPACK's tables may have, ours and the client's.
const HPACK_TABLE: u32 = 4096;
/// Streams that weir resets for what the client does wrong, before it has enough of it.
const ERRORS_MAX: usize = 1024;

/// How long exchanges that were cut may take to unwind: they only have to be polled.
const UNWIND: Duration = Duration::from_secs(1);

type Codec = h2::server::Connection<Adapter<Rc<Client>>, Payload>;

/// A connection and what drives it.
struct Connection {
    shared: Rc<Shared>,
    codec: Codec,
    port: Rc<Port>,
    watch: Watch,
    /// Its budget is used up, or a head took too long: it is being given up.
    given_up: bool,
}

/// How it came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Both sides know.
    Over,
    /// At once.
    Cut,
}

/// Serves a connection to its end.
pub(super) async fn connection(worker: Rc<Worker>, client: Rc<Client>, registered: Registered) {
    if let Some(connection) = open(&worker, &client).await {
        connection.serve().await;
    }
    drop(registered);
}

/// Greets the client; none: it did not answer in time, or wrongly.
async fn open(worker: &Rc<Worker>, client: &Rc<Client>) -> Option<Connection> {
    let current = worker.current_of(&client.listener);
    let (_, plan) = plan_of(&current, client)?;
    let now = ring::now();
    let port = Port::metered(Meter::new(plan.http2.abuse_budget, plan.http2.streams_max, now));
    let adapter = Adapter::with_port(client.clone(), port.clone());
    let mut greeting = pin!(builder(plan).handshake::<_, Payload>(adapter));
    let greeted = poll_fn(|cx| {
        port.begin();
        let polled = greeting.as_mut().poll(cx);
        port.push(&client.socket);
        polled
    });
    let codec = client.within(deadline(now, plan.rules.timeouts.head), greeted).await;
    let shared = Shared::new(worker.clone(), client.clone());
    match codec {
        Ok(Ok(codec)) => Some(Connection { shared, codec, port, watch: Watch::new(), given_up: false }),
        _ => {
            shared.book(&port);
            None
        }
    }
}

fn builder(plan: &ListenerPlan) -> Builder {
    let Http2 { streams_max, stream_window, connection_window, .. } = plan.http2;
    let octets = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    let streams = usize::try_from(streams_max).unwrap_or(usize::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(octets(streams_max))
        .initial_window_size(octets(stream_window))
        .initial_connection_window_size(octets(connection_window))
        .max_header_list_size(octets(plan.rules.limits.head_max))
        .header_table_size(HPACK_TABLE)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(usize::try_from(connection_window / 2).unwrap_or(usize::MAX))
        .max_pending_accept_reset_streams(streams)
        .max_local_error_reset_streams(Some(ERRORS_MAX))
        .enable_connect_protocol();
    builder
}

impl Connection {
    async fn serve(mut self) {
        let client = self.shared.client.clone();
        client.set_doing(Doing::Many);
        let end = loop {
            let due = self.due();
            match client.within(due, poll_fn(|cx| self.turn(cx))).await {
                Ok(()) => break End::Over,
                Err(Stopped::Cut) => break End::Cut,
                Err(Stopped::Finish) => self.finish(),
                Err(Stopped::Late) => {
                    if let Some(end) = self.late() {
                        break end;
                    }
                }
            }
        };
        self.end(end).await;
    }

    /// Drives the codec as far as it goes; ready when the connection is over.
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.wakes(cx);
        self.port.begin();
        let over = loop {
            match self.codec.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.accept(request, respond),
                Poll::Ready(_) => break true,
                Poll::Pending => break false,
            }
        };
        self.port.push(&self.shared.client.socket);
        self.shared.book(&self.port);
        if over {
            return Poll::Ready(());
        }
        if let Some(code) = self.offence().filter(|_| !self.given_up) {
            self.give_up(code);
            // What that has to say is said by the codec.
            cx.waker().wake_by_ref();
        }
        let due = self.due();
        self.shared.client.postpone(due);
        Poll::Pending
    }

    /// A request has come.
    fn accept(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Payload>) {
        let shared = &self.shared;
        let client = &shared.client;
        client.requests.set(client.requests.get() + 1);
        client.brought_head();
        if client.requests.get() % KNOWN_AGAIN == 1 {
            shared.worker.know(client);
        }
        if let Some(meter) = &self.port.meter {
            meter.borrow_mut().accepted(respond.stream_id().as_u32());
        }
        if let Some(code) = self.offence() {
            return respond.send_reset(code);
        }
        let current = shared.worker.current_of(&client.listener);
        let Some((_, plan)) = plan_of(&current, client) else { return };
        // The codec forgets a stream that its client resets; its place is taken until the exchange has unwound.
        if shared.live() as u64 >= plan.http2.streams_max {
            return respond.send_reset(h2::Reason::REFUSED_STREAM);
        }
        let max = plan.rules.limits.requests_per_connection;
        let last = max != 0 && u64::from(client.requests.get()) >= max;
        exchange::begin(shared, request, respond);
        if last {
            self.finish();
        }
    }

    /// Takes no more requests: those that are under way, to here too, end as they may (RFC 9113 section 6.8).
    fn finish(&mut self) {
        // It knows now what it wanted to know at once.
        self.shared.client.set_doing(Doing::Busy);
        self.watch.going(ring::now());
        self.codec.graceful_shutdown();
    }

    /// Why the connection is to be given up, if the codec sees no reason to.
    fn offence(&self) -> Option<h2::Reason> {
        let meter = self.port.meter.as_ref()?.borrow();
        let wrong = meter.is_unsettled().then_some(h2::Reason::PROTOCOL_ERROR);
        wrong.or(meter.is_empty().then_some(h2::Reason::ENHANCE_YOUR_CALM))
    }

    /// Ends it, and says why.
    fn give_up(&mut self, code: h2::Reason) {
        self.given_up = true;
        self.watch.going(ring::now());
        self.codec.abrupt_shutdown(code);
    }

    /// When something must have happened.
    fn due(&mut self) -> Option<Instant> {
        let facts = self.facts();
        self.watch.due(&facts).map(|(at, _)| at)
    }

    /// What must have happened has not, if it is time for that: how the connection ends, if that is what follows.
    fn late(&mut self) -> Option<End> {
        let facts = self.facts();
        let (_, due) = self.watch.due(&facts).filter(|(at, _)| *at <= facts.now)?;
        match due {
            Due::Goodbye => return Some(End::Over),
            Due::Request => self.finish(),
            Due::Head if self.given_up => return Some(End::Cut),
            Due::Head => {
                self.shared.refused(Reason::RequestHeaderTimeout);
                self.give_up(h2::Reason::ENHANCE_YOUR_CALM);
            }
            Due::Progress => {
                let client = &self.shared.client;
                if !self.watch.moves(&client.socket, &facts) {
                    client.reset(Reason::ClientTooSlow);
                    return Some(End::Cut);
                }
            }
        }
        None
    }

    fn facts(&self) -> Facts {
        let shared = &self.shared;
        let client = &shared.client;
        let current = shared.worker.current_of(&client.listener);
        let timeouts = plan_of(&current, client).map(|(_, plan)| &plan.rules.timeouts);
        let of = |limit: fn(&Timeouts) -> Duration| timeouts.map_or(Duration::ZERO, limit);
        Facts {
            now: ring::now(),
            head: of(|timeouts| timeouts.head),
            keepalive: of(|timeouts| timeouts.keepalive),
            send: of(|timeouts| timeouts.send),
            requests: client.requests.get(),
            idle_since: shared.idle_since(),
            head_since: self.port.meter.as_ref().and_then(|meter| meter.borrow().head_since()),
            unsent: client.socket.unsent() > 0,
        }
    }

    /// Lets go of the codec, and waits for the exchanges, which learn of it so.
    async fn end(self, end: End) {
        let Self { shared, codec, port, .. } = self;
        if end == End::Cut {
            // They say why they ended, before they notice that their connection is gone.
            shared.cut();
            let timer = Timer::new();
            timer.set_after(UNWIND);
            let _ = timer.race(shared.empty()).await;
        }
        drop(codec);
        shared.empty().await;
        if end == End::Over {
            port.push(&shared.client.socket);
            say_goodbye(&shared).await;
        }
    }
}

/// Lets what was sent last be received: a reset would take it from the client.
async fn say_goodbye(shared: &Shared) {
    let client = &shared.client;
    let limits = {
        let current = shared.worker.current_of(&client.listener);
        plan_of(&current, client).map(|(_, plan)| (plan.rules.timeouts.send, plan.rules.timeouts.linger))
    };
    let Some((send, linger)) = limits else { return };
    let left = poll_fn(|cx| client.socket.poll_flush(cx, 0));
    if let Ok(Ok(())) = client.within(deadline(ring::now(), send), left).await {
        close_gently(client, linger).await;
    }
}
