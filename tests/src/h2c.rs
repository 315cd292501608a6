//! An origin that speaks HTTP/2 without TLS: a codec of its own answers each call by an async script, and keeps count.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Response};
use tokio::sync::{mpsc, oneshot};

use crate::wait;

type Script = dyn Fn(Call) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// What the origin has seen on all its connections.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    calls: Mutex<Vec<Parts>>,
    notes: Mutex<Vec<String>>,
}

/// The origin. Dropping it ends every connection.
pub struct H2Origin {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One request, and the way to answer it.
pub struct Call {
    /// How many came before it, on all connections.
    pub number: usize,
    /// How many connections came before its own.
    pub connection: usize,
    /// Its head.
    pub head: Parts,
    /// Its content.
    pub body: RecvStream,
    /// Its answer.
    pub respond: SendResponse<Bytes>,
    commands: mpsc::UnboundedSender<Command>,
    seen: Arc<Seen>,
}

enum Command {
    Leave,
    Abort,
}

impl H2Origin {
    /// Runs `script` for each request, on connections as they usually are.
    pub fn new<F: Future<Output = ()> + Send + 'static>(script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self {
        Self::with(&Builder::new(), script)
    }

    /// The same with settings of the test's.
    pub fn with<F>(settings: &Builder, script: impl Fn(Call) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.set_nonblocking(true).expect("a listener that does not block");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let script: Arc<Script> = Arc::new(move |call| Box::pin(script(call)));
        let (settings, kept) = (settings.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, settings, kept, script) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// Answers 200 with a body.
    pub fn ok(body: &'static str) -> Self {
        Self::new(move |mut call| async move { call.answer(200, &[], body) })
    }

    /// Answers 200 with the request's content and trailers.
    pub fn echo() -> Self {
        Self::new(|mut call| async move {
            let Ok((content, trailers)) = call.content().await else { return };
            let mut stream = call.begin(200, &[], false);
            let _ = stream.send_data(content.into(), trailers.is_none());
            if let Some(trailers) = trailers {
                let _ = stream.send_trailers(trailers);
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far, in order of arrival.
    pub fn calls(&self) -> Vec<Parts> {
        self.seen.calls.lock().expect("calls").clone()
    }

    /// The last of them; panics if none came.
    #[track_caller]
    pub fn last(&self) -> Parts {
        self.calls().pop().expect("the origin saw a request")
    }

    /// Waits until `n` requests have come.
    #[track_caller]
    pub fn wait_calls(&self, n: usize) {
        wait::until(&format!("{n} requests at the origin"), || self.seen.calls.lock().expect("calls").len() >= n);
    }

    /// Waits until a script has noted this.
    #[track_caller]
    pub fn wait_note(&self, note: &str) {
        let noted = || self.seen.notes.lock().expect("notes").iter().any(|one| one == note);
        wait::until(&format!("the note {note:?}; there are {:?}", self.seen.notes.lock().expect("notes")), noted);
    }
}

impl Drop for H2Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Call {
    /// All of its content, and its trailers.
    ///
    /// # Errors
    /// It was cut.
    pub async fn content(&mut self) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
        let mut content = Vec::new();
        while let Some(octets) = self.body.data().await {
            let octets = octets?;
            self.body.flow_control().release_capacity(octets.len())?;
            content.extend_from_slice(&octets);
        }
        Ok((content, self.body.trailers().await?))
    }

    /// Sends a final head; `end`: there is no content.
    pub fn begin(&mut self, status: u16, fields: &[(&str, &str)], end: bool) -> SendStream<Bytes> {
        let mut head = Response::builder().status(status);
        for (name, value) in fields {
            head = head.header(*name, *value);
        }
        self.respond.send_response(head.body(()).expect("a head"), end).expect("a stream that takes a head")
    }

    /// Sends a whole answer.
    pub fn answer(&mut self, status: u16, fields: &[(&str, &str)], body: &'static str) {
        let mut stream = self.begin(status, fields, body.is_empty());
        if !body.is_empty() {
            let _ = stream.send_data(Bytes::from_static(body.as_bytes()), true);
        }
    }

    /// Resets the stream.
    pub fn reset(&mut self, reason: Reason) {
        self.respond.send_reset(reason);
    }

    /// Waits until weir resets a stream that has no head yet; none if the connection ended instead.
    pub async fn cancelled(&mut self) -> Option<Reason> {
        poll_fn(|cx| self.respond.poll_reset(cx)).await.ok()
    }

    /// Has the connection say GOAWAY, and end once its streams have.
    pub fn leave(&self) {
        let _ = self.commands.send(Command::Leave);
    }

    /// Ends the connection without a word.
    pub fn abort(&self) {
        let _ = self.commands.send(Command::Abort);
    }

    /// Tells the test something: see [`H2Origin::wait_note`].
    pub fn note(&self, note: impl Into<String>) {
        self.seen.notes.lock().expect("notes").push(note.into());
    }
}

/// Waits until weir resets the stream of an answer that has begun, or the connection ends.
pub async fn gone(stream: &mut SendStream<Bytes>) {
    let _ = poll_fn(|cx| stream.poll_reset(cx)).await;
}

async fn accept(listener: TcpListener, settings: Builder, seen: Arc<Seen>, script: Arc<Script>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let number = seen.accepted.fetch_add(1, Ordering::SeqCst);
        let (settings, seen, script) = (settings.clone(), seen.clone(), script.clone());
        tokio::spawn(async move {
            seen.open.fetch_add(1, Ordering::SeqCst);
            serve(stream, &settings, number, &seen, &script).await;
            seen.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    settings: &Builder,
    connection: usize,
    seen: &Arc<Seen>,
    script: &Arc<Script>,
) {
    let Ok(mut h2) = settings.handshake::<_, Bytes>(stream).await else { return };
    let (commands, mut ordered) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            call = h2.accept() => {
                let Some(Ok((request, respond))) = call else { return };
                let (head, body) = request.into_parts();
                let number = {
                    let mut calls = seen.calls.lock().expect("calls");
                    calls.push(head.clone());
                    calls.len() - 1
                };
                let (commands, seen) = (commands.clone(), seen.clone());
                tokio::spawn(script(Call { number, connection, head, body, respond, commands, seen }));
            }
            Some(command) = ordered.recv() => match command {
                Command::Leave => h2.graceful_shutdown(),
                Command::Abort => return,
            }
        }
    }
}
