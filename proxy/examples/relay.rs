//! A byte forwarder written as tasks on weir's ring: what the driver and its executor cost is what this costs more
//! than `weir-bench floor`, which does the same without them.
//!
//! `cargo run --release --example relay -- LISTEN UPSTREAM`, two socket addresses.

use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;

use socket2::{Domain, Type};
use weir::ring::{self, Endpoint, Listener, Runtime, SendBuf, Settings, Socket};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err("usage: relay LISTEN UPSTREAM".into());
    };
    let listener = listener(listen.parse()?)?;
    let upstream = Rc::new(Endpoint::Tcp(upstream.parse()?));
    let mut runtime = Runtime::new(Settings::default())?;
    Ok(runtime.run(accept(Listener::from_fd(listener.into()), upstream))?)
}

fn listener(address: SocketAddr) -> io::Result<socket2::Socket> {
    let listener = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_tcp_nodelay(true)?;
    listener.bind(&address.into())?;
    listener.listen(4096)?;
    Ok(listener)
}

async fn accept(listener: Listener, upstream: Rc<Endpoint>) -> io::Result<()> {
    loop {
        let client = listener.accept().await?;
        let upstream = Rc::clone(&upstream);
        ring::spawn(async move {
            let Ok(server) = ring::connect(&upstream).await else { return };
            let (client, server) = (Rc::new(client), Rc::new(server));
            ring::spawn(forward(Rc::clone(&server), Rc::clone(&client)));
            forward(client, server).await;
        });
    }
}

/// Sends what comes from one side to the other, until one of them ends.
async fn forward(from: Rc<Socket>, to: Rc<Socket>) {
    while let Ok(Some(chunk)) = from.recv().await {
        to.begin_send(SendBuf::from(chunk));
        // As much again may be received while this is sent.
        if to.flush_to(256 << 10).await.is_err() {
            break;
        }
    }
    if to.flush().await.is_ok() {
        let _ = to.shutdown(Shutdown::Write).await;
    }
}
