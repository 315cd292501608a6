//! Demo origins: small HTTP servers on loopback that say who they are.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::any;
use tokio::net::{TcpListener, TcpSocket};

/// The largest body that `/bytes/N` answers with.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Two origins that serve until the runtime ends, and an address at which nobody does.
pub(super) struct Origins {
    pub(super) a: SocketAddr,
    pub(super) b: SocketAddr,
    pub(super) down: SocketAddr,
    /// Bound, but not listening: the port stays free of others, and connections to it are refused.
    _down: TcpSocket,
}

impl Origins {
    /// Starts them on free ports.
    ///
    /// # Errors
    /// No port could be had.
    pub(super) async fn start() -> io::Result<Self> {
        let unheard = TcpSocket::new_v4()?;
        unheard.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let (a, b) = (start("origin a").await?, start("origin b").await?);
        Ok(Self { a, b, down: unheard.local_addr()?, _down: unheard })
    }
}

async fn start(name: &'static str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/slow", any(move || slow(name)))
        .route("/bytes/{n}", any(bytes))
        .fallback(move |method: Method, uri: Uri| async move { format!("{name} answers {method} {uri}\n") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn slow(name: &'static str) -> String {
    tokio::time::sleep(Duration::from_millis(300)).await;
    format!("{name} answers after 300 ms\n")
}

async fn bytes(Path(n): Path<usize>) -> impl IntoResponse {
    if n > BYTES_MAX {
        return Err((StatusCode::BAD_REQUEST, format!("at most {BYTES_MAX} bytes\n")));
    }
    Ok(vec![b'x'; n])
}
