//! One HTTP request to a server on this machine, for commands that ask one.

use std::io;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Octets of an answer's body.
const BODY_MAX: usize = 16 << 20;

/// What the server said.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// GETs `path`; the whole answer must be there by `deadline`.
///
/// # Errors
/// Nobody listens, what came is not HTTP/1.1, or it took too long ([`io::ErrorKind::TimedOut`]).
pub(super) async fn get(address: SocketAddr, path: &str, deadline: Instant) -> io::Result<Answer> {
    timeout_at(deadline, exchange(address, path)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::get(path).header(HOST, address.to_string()).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    // It ends with the exchange: whoever drops the sender closes the connection.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_MAX).collect().await.map_err(io::Error::other)?;
    Ok(Answer { status, body: body.to_bytes() })
}
