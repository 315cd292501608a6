//! A probe by gRPC's own protocol for it (grpc.health.v1): one call of Check, whose answer is SERVING or not.

use std::fmt;
use std::io;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http2::{connected, meaning};

/// Octets of an answer; the message itself has two.
const ANSWER_MAX: usize = 4096;

/// Why a service that answered does not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unwell {
    /// It says that it does not serve.
    NotServing,
    /// The call failed, with this status.
    Status(String),
}

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotServing => f.write_str("not serving"),
            Self::Status(status) => write!(f, "grpc status {status}"),
        }
    }
}

impl std::error::Error for Unwell {}

/// Asks whether `service` serves; empty: whether the server as a whole does.
///
/// # Errors
/// [`Unwell`], or that there was no answer.
pub(super) async fn ask(io: impl AsyncRead + AsyncWrite + Unpin, origin: &str, service: &str) -> io::Result<()> {
    let request = http::Request::post(format!("{origin}/grpc.health.v1.Health/Check"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let request = request.header("user-agent", "weir-health").body(());
    let request = request.map_err(|_| io::ErrorKind::InvalidInput)?;
    connected(io, |sender| check(sender, request, question(service))).await
}

/// A HealthCheckRequest, framed: its one field is the service, a string.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.extend_from_slice(&[0x0a, service.len() as u8]);
        message.extend_from_slice(service.as_bytes());
    }
    [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat().into()
}

async fn check(sender: SendRequest<Bytes>, request: http::Request<()>, question: Bytes) -> io::Result<()> {
    let mut sender = sender.ready().await.map_err(meaning)?;
    let (response, mut stream) = sender.send_request(request, false).map_err(meaning)?;
    stream.send_data(question, true).map_err(meaning)?;
    let (head, mut body) = response.await.map_err(meaning)?.into_parts();
    let mut answer = Vec::new();
    while let Some(octets) = body.data().await {
        answer.extend_from_slice(&octets.map_err(meaning)?);
        if answer.len() > ANSWER_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let trailers = body.trailers().await.map_err(meaning)?;
    let last = trailers.as_ref().unwrap_or(&head.headers);
    match last.get("grpc-status").map(|status| status.as_bytes()) {
        Some(b"0") if is_serving(&answer) => Ok(()),
        Some(b"0") => Err(io::Error::other(Unwell::NotServing)),
        Some(status) => Err(io::Error::other(Unwell::Status(String::from_utf8_lossy(status).into_owned()))),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A HealthCheckResponse, framed and not compressed, whose status is SERVING, which is 1.
fn is_serving(answer: &[u8]) -> bool {
    answer == [0, 0, 0, 0, 2, 0x08, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_the_service() {
        assert_eq!(&question("")[..], [0; 5]);
        assert_eq!(&question("a.B")[..], b"\0\0\0\0\x05\x0a\x03a.B");
    }

    #[test]
    fn only_serving_serves() {
        assert!(is_serving(&[0, 0, 0, 0, 2, 8, 1]));
        for answer in [&[0, 0, 0, 0, 2, 8, 2][..], &[0, 0, 0, 0, 0], &[], &[1, 0, 0, 0, 2, 8, 1]] {
            assert!(!is_serving(answer), "{answer:?}");
        }
    }
}
