//! The origin: answers of a fixed size, ready in memory, and uploads that it counts and forgets.

mod h2;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use rustls::ServerConfig;

use crate::body::{Body, head_end};
use crate::executor::Cores;
use crate::stream::Stream;
use crate::{size, tls};

/// Larger answers are written block by block.
const BLOCK: usize = 1 << 20;
const HEAD_MAX: usize = 64 << 10;

/// Options of `origin`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: String,
    /// HTTP/2: within TLS beside HTTP/1.1, without it by prior knowledge alone.
    #[arg(long)]
    h2: bool,
    #[command(flatten)]
    tls: tls::ServerOptions,
    #[command(flatten)]
    cores: Cores,
}

/// Serves until it is killed.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let alpn: &[&str] = if options.h2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    let (listen, h2, tls) = (options.listen.clone(), options.h2, options.tls.build(alpn)?);
    let outcomes = options.cores.run(move |_| serve(listen.clone(), h2, tls.clone()))?;
    outcomes.into_iter().collect::<Result<Vec<()>, _>>().map(|_| true)
}

async fn serve(listen: String, h2: bool, tls: Option<Arc<ServerConfig>>) -> Result<(), String> {
    let listener = TcpListener::bind(&listen).map_err(|e| format!("{listen}: {e}"))?;
    let answers = Rc::new(Answers { knows_h2: h2, tls, ..Answers::default() });
    loop {
        // Out of descriptors, or the peer has gone already: the next may be better.
        let Ok(stream) = listener.accept().await else {
            glommio::timer::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let answers = answers.clone();
        // A peer that goes away ends its own task, and nothing else.
        glommio::spawn_local(async move { drop(connection(stream, &answers).await) }).detach();
    }
}

async fn connection(stream: TcpStream, answers: &Answers) -> io::Result<()> {
    let stream = Stream::accepted(stream, answers.tls.as_ref()).await?;
    if stream.speaks_h2() || answers.knows_h2 && answers.tls.is_none() {
        return h2::connection(stream, &answers.bodies).await.map_err(io::Error::other);
    }
    http_1(stream, answers).await
}

async fn http_1(mut stream: Stream, answers: &Answers) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    loop {
        let Some(end) = head_end(&buffer[..filled]) else {
            if filled == buffer.len() {
                if filled >= HEAD_MAX {
                    return Ok(());
                }
                buffer.resize(filled * 2, 0);
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                n => filled += n,
            }
            continue;
        };
        let Some(ask) = Ask::read(&buffer[..end]) else {
            return stream.write_all(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        };
        if ask.continues {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        buffer.copy_within(end..filled, 0);
        filled = upload(&mut stream, &mut buffer, filled - end, ask.body).await?;
        answers.write(&mut stream, ask.size).await?;
        if ask.close {
            return Ok(());
        }
    }
}

/// Reads a request's body away; what follows it is left at the front of `buffer`.
async fn upload(stream: &mut Stream, buffer: &mut Vec<u8>, mut filled: usize, body: Body) -> io::Result<usize> {
    let mut body = body;
    let bad = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    loop {
        let taken = body.take(&buffer[..filled]).map_err(bad)?;
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
        if body.is_done() {
            return Ok(filled);
        }
        // Uploads arrive in large reads; small requests never come here.
        if buffer.len() < 256 << 10 {
            buffer.resize(256 << 10, 0);
        }
        match stream.read(&mut buffer[filled..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
}

/// What a request asks for.
struct Ask {
    size: u64,
    body: Body,
    close: bool,
    continues: bool,
}

impl Ask {
    fn read(head: &[u8]) -> Option<Self> {
        let line = head.split(|b| *b == b'\r').next()?;
        let path = line.split(|b| *b == b' ').nth(1)?;
        let path = std::str::from_utf8(path.split(|b| *b == b'?').next()?).ok()?;
        let size = size_of(path);
        let is = |name: &[u8], value: &[u8]| {
            crate::body::field(head, name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        Some(Self {
            size,
            body: Body::of(head, Body::Length(0)).ok()?,
            close: is(b"connection", b"close") || line.ends_with(b"HTTP/1.0"),
            continues: is(b"expect", b"100-continue"),
        })
    }
}

/// A proxy may have put a prefix before it; whatever is no /bytes/SIZE gets a small answer.
fn size_of(path: &str) -> u64 {
    path.rsplit_once("/bytes/").and_then(|(_, size)| size::parse(size).ok()).unwrap_or(2)
}

/// What an executor serves with: answers by their size, serialised once.
#[derive(Default)]
struct Answers {
    wholes: RefCell<HashMap<u64, Rc<[u8]>>>,
    bodies: Rc<h2::Bodies>,
    knows_h2: bool,
    tls: Option<Arc<ServerConfig>>,
}

impl Answers {
    async fn write(&self, stream: &mut Stream, size: u64) -> io::Result<()> {
        if size <= BLOCK as u64 {
            let whole = self.whole(size);
            return stream.write_all(&whole).await;
        }
        stream.write_all(head(size).as_bytes()).await?;
        let block = self.whole(BLOCK as u64);
        let block = &block[block.len() - BLOCK..];
        let mut left = size;
        while left > 0 {
            let length = left.min(BLOCK as u64) as usize;
            stream.write_all(&block[..length]).await?;
            left -= length as u64;
        }
        Ok(())
    }

    /// Head and body in one piece.
    fn whole(&self, size: u64) -> Rc<[u8]> {
        let mut answers = self.wholes.borrow_mut();
        // Clients choose the size: what they can make us keep is bounded.
        if answers.len() > 64 {
            answers.clear();
        }
        answers
            .entry(size)
            .or_insert_with(|| {
                let body = (0..size).map(|at| b'a' + (at % 26) as u8);
                head(size).into_bytes().into_iter().chain(body).collect()
            })
            .clone()
    }
}

fn head(size: u64) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_come_from_the_path() {
        let ask = |head: &str| Ask::read(head.as_bytes()).map(|ask| (ask.size, ask.close));
        assert_eq!(ask("GET /bytes/64KiB HTTP/1.1\r\n\r\n"), Some((65536, false)));
        assert_eq!(ask("GET /x/bytes/12?q HTTP/1.0\r\n\r\n"), Some((12, true)));
        assert_eq!(ask("POST /up HTTP/1.1\r\nConnection: close\r\n\r\n"), Some((2, true)));
    }

    #[test]
    fn an_answer_has_the_length_it_names() {
        let whole = Answers::default().whole(100);
        let end = head_end(&whole).expect("a head");
        assert_eq!(Body::of(&whole[..end], Body::Close), Ok(Body::Length(100)));
        assert_eq!(whole.len() - end, 100);
    }
}
