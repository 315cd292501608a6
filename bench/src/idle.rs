//! Idle connections: each has had one response, and waits.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;

use crate::executor::Cores;
use crate::url;

/// Options of `idle`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// `http://HOST:PORT/PATH` of a small answer.
    url: String,
    /// Connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Seconds to hold them once all are open.
    #[arg(long, default_value_t = 10.0)]
    hold: f64,
    #[command(flatten)]
    cores: Cores,
}

/// Opens them a few at a time, prints `held N` when all that could be are open, holds them, and says whether none was
/// refused or closed.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let url = url::parse(&options.url)?;
    let hold = Duration::try_from_secs_f64(options.hold).map_err(|e| format!("--hold: {e}"))?;
    let each = options.connections / options.cores.count();
    let outcomes = options.cores.run(move |_| all(url.clone(), each, hold))?;
    let kept: usize = outcomes.into_iter().sum();
    println!("kept {kept}");
    Ok(kept == each * options.cores.count())
}

async fn all(url: url::Url, count: usize, hold: Duration) -> usize {
    let ask: Rc<[u8]> = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", url.path, url.authority).into_bytes().into();
    let next = Rc::new(Cell::new(0));
    // A listen backlog is no place for ten thousand at once.
    let openers: Vec<_> = (0..32.min(count))
        .map(|_| {
            let (next, ask, address) = (next.clone(), ask.clone(), url.address);
            glommio::spawn_local(async move {
                let mut open = Vec::new();
                while next.replace(next.get() + 1) < count {
                    open.extend(one(address, &ask).await);
                }
                open
            })
        })
        .collect();
    let mut open = Vec::new();
    for opener in openers {
        open.extend(opener.await);
    }
    println!("held {}", open.len());
    // Whoever reads this waits for the line.
    let _ = std::io::stdout().flush();
    glommio::timer::sleep(hold).await;
    let mut kept = 0;
    for mut stream in open {
        kept += usize::from(stream.write_all(&ask).await.is_ok() && response(&mut stream).await.is_some());
    }
    kept
}

async fn one(address: std::net::SocketAddr, ask: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(ask).await.ok()?;
    response(&mut stream).await?;
    Some(stream)
}

/// Reads one small response; what a single read does not hold is not small.
async fn response(stream: &mut TcpStream) -> Option<()> {
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let head = crate::body::head_end(&buffer[..filled]);
        if let Some(end) = head {
            let mut body = crate::body::Body::of(&buffer[..end], crate::body::Body::Close).ok()?;
            body.take(&buffer[end..filled]).ok()?;
            if body.is_done() {
                return buffer.starts_with(b"HTTP/1.1 200").then_some(());
            }
        }
        match stream.read(buffer.get_mut(filled..)?).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => filled += n,
        }
    }
}
