//! A probe in HTTP/2: one connection, one stream.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};

use super::HEAD_MAX;

/// Asks, and waits for the final status; what follows the head is left to the closing connection.
///
/// # Errors
/// As [`connected`].
pub(super) async fn ask(io: impl AsyncRead + AsyncWrite + Unpin, request: http::Request<()>) -> io::Result<u16> {
    connected(io, |sender| status(sender, request)).await
}

/// Runs `work` on a connection that is driven beside it.
///
/// # Errors
/// `UnexpectedEof` for a connection that ends before, `InvalidData` for what is no HTTP/2; and what `work` says.
pub(super) async fn connected<T, F: Future<Output = io::Result<T>>>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    work: impl FnOnce(SendRequest<Bytes>) -> F,
) -> io::Result<T> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD_MAX as u32);
    let (sender, mut connection) = builder.handshake::<_, Bytes>(io).await.map_err(meaning)?;
    let mut work = pin!(work(sender));
    poll_fn(|cx| {
        let over = Pin::new(&mut connection).poll(cx);
        match (work.as_mut().poll(cx), over) {
            (Poll::Ready(result), _) => Poll::Ready(result),
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(meaning(error))),
            (Poll::Pending, Poll::Ready(Ok(()))) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

async fn status(sender: SendRequest<Bytes>, request: http::Request<()>) -> io::Result<u16> {
    let mut sender = sender.ready().await.map_err(meaning)?;
    let (response, _) = sender.send_request(request, true).map_err(meaning)?;
    response.await.map(|response| response.status().as_u16()).map_err(meaning)
}

/// What an error of the codec says of the origin.
pub(super) fn meaning(error: h2::Error) -> io::Error {
    match error.get_io().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe) => io::ErrorKind::UnexpectedEof.into(),
        Some(kind) => kind.into(),
        None => io::ErrorKind::InvalidData.into(),
    }
}
