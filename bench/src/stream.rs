//! A connection of the generator or the origin: octets as they are or within TLS, for futures-lite and for h2.

mod adapter;
mod secure;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

pub(crate) use adapter::Adapter;
use secure::Secure;

/// One connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Secure>),
}

/// Why a connection did not come to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unopened {
    Connect,
    Handshake,
}

impl Stream {
    /// Connects, and shakes hands where TLS is spoken.
    pub(crate) async fn open(
        address: SocketAddr,
        tls: Option<&(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> Result<Self, Unopened> {
        let stream = TcpStream::connect(address).await.map_err(|_| Unopened::Connect)?;
        stream.set_nodelay(true).map_err(|_| Unopened::Connect)?;
        let Some((config, name)) = tls else { return Ok(Self::Plain(stream)) };
        let session = ClientConnection::new(config.clone(), name.clone()).map_err(|_| Unopened::Handshake)?;
        let secure = Secure::handshake(stream, session.into()).await.map_err(|_| Unopened::Handshake)?;
        Ok(Self::Tls(Box::new(secure)))
    }

    /// Takes a connection that was accepted.
    pub(crate) async fn accepted(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let Some(config) = tls else { return Ok(Self::Plain(stream)) };
        let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        Secure::handshake(stream, session.into()).await.map(|secure| Self::Tls(Box::new(secure)))
    }

    /// Whether both sides agreed on h2 within TLS.
    pub(crate) fn speaks_h2(&self) -> bool {
        matches!(self, Self::Tls(secure) if secure.alpn() == Some(b"h2"))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(secure) => secure.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Tls(secure) => secure.poll_write(cx, octets),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(secure) => secure.poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_close(cx),
            Self::Tls(secure) => secure.poll_close(cx),
        }
    }
}
