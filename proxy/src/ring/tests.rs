//! The runtime on real sockets: what it promises, and that nothing is left behind.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

mod limits;
mod streams;
mod tasks;

fn small() -> Settings {
    Settings { entries: 64, cq_entries: 256, buffer_size: 4096, buffers_max: 16, ..Settings::default() }
}

/// Runs `test` on a runtime of its own, then demands that nothing is left.
fn run<F: Future>(settings: Settings, test: impl FnOnce() -> F) -> F::Output {
    let mut runtime = Runtime::new(settings).unwrap();
    let stats = stats();
    let output = runtime.run(test());
    drop(runtime);
    assert_eq!(stats.tasks.get(), 0, "tasks");
    assert_eq!(stats.sockets.get(), 0, "sockets");
    assert_eq!(stats.ops.get(), 0, "operations");
    assert_eq!(stats.buffers_out.get(), 0, "buffers");
    output
}

fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Socket::from_fd(OwnedFd::from(ours)), theirs)
}

fn sockets() -> (Socket, Socket) {
    let (one, other) = UnixStream::pair().unwrap();
    (Socket::from_fd(OwnedFd::from(one)), Socket::from_fd(OwnedFd::from(other)))
}

fn listener() -> (Listener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (Listener::from_fd(listener.into()), address)
}

async fn read_all(socket: &Socket) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = socket.recv().await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn turns(count: usize) {
    for _ in 0..count {
        sleep_until(now() + Duration::from_millis(2)).await;
    }
}

fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(len as u64);
    (0..len).map(|_| random.u8(..)).collect()
}
