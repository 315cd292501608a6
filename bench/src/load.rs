//! The load generator: closed loop (a connection's next request follows its last response) or open loop (requests
//! leave at a fixed rate, and latency counts from the intended time, so that a slow server hides nothing). Over HTTP/2
//! each connection carries so many streams at once.

mod connection;
mod h2;
mod pace;
mod report;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::executor::Cores;
use crate::{size, tls, url};
use pace::Pace;
use report::Tally;

/// Options of `load`.
#[derive(clap::Args, Clone)]
pub(crate) struct Options {
    /// `http://HOST:PORT/PATH`, or https
    url: String,
    /// Connections, over all executors.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds; with --requests the most that it may take.
    #[arg(long)]
    duration: Option<f64>,
    /// Exactly so many requests.
    #[arg(long)]
    requests: Option<u64>,
    /// Open loop: requests per second.
    #[arg(long)]
    rate: Option<f64>,
    /// Upload a body of this size with every request.
    #[arg(long, value_parser = size::parse)]
    upload: Option<u64>,
    /// A connection for every request.
    #[arg(long)]
    close: bool,
    /// HTTP/2: by prior knowledge, or by ALPN within https.
    #[arg(long)]
    h2: bool,
    /// Streams at once on each HTTP/2 connection.
    #[arg(long, default_value_t = 1, requires = "h2")]
    streams: usize,
    #[command(flatten)]
    tls: tls::ClientOptions,
    /// A header line more, `Name: value`.
    #[arg(long, short = 'H')]
    header: Vec<String>,
    /// Output: text or json.
    #[arg(short, long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
    #[command(flatten)]
    cores: Cores,
}

/// Without --duration a count is bounded by this.
const LONGEST: Duration = Duration::from_secs(600);

/// Runs the load and prints what it met. Errors make it false.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    if options.connections == 0 || options.streams == 0 || options.rate.is_some_and(|rate| rate <= 0.0) {
        return Err("--connections, --streams and --rate are above 0".into());
    }
    if options.h2 && options.close {
        return Err("--close is not for --h2".into());
    }
    let plan = Plan::new(options)?;
    let executors = options.cores.count();
    let tallies = options.cores.run(move |number| one(plan.share(number, executors)))?;
    let mut total = Tally::default();
    for tally in &tallies {
        total.add(tally);
    }
    match options.output.as_str() {
        "json" => println!("{}", total.json()),
        _ => print!("{}", total.text()),
    }
    Ok(total.errors() == 0)
}

/// What an executor has to do.
#[derive(Clone)]
struct Plan {
    url: url::Url,
    /// Who is spoken to within TLS, and by which name.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The octets of every HTTP/1 request.
    ask: Vec<u8>,
    /// What every HTTP/2 request says.
    method: &'static str,
    uri: String,
    fields: Vec<(String, String)>,
    body: Bytes,
    /// Streams at once; 0 is HTTP/1.
    streams: usize,
    close: bool,
    connections: usize,
    limit: Duration,
    requests: Option<u64>,
    rate: Option<f64>,
}

impl Plan {
    fn new(options: &Options) -> Result<Self, String> {
        let url = url::parse(&options.url)?;
        let upload = usize::try_from(options.upload.unwrap_or(0)).map_err(|e| e.to_string())?;
        let limit = match (options.duration, options.requests) {
            (Some(seconds), _) => Duration::try_from_secs_f64(seconds).map_err(|e| format!("--duration: {e}"))?,
            (None, Some(_)) => LONGEST,
            (None, None) => Duration::from_secs(10),
        };
        let Options { connections, requests, rate, close, .. } = *options;
        let alpn = if options.h2 { "h2" } else { "http/1.1" };
        let tls = if url.is_https { Some(options.tls.build(url.host(), &[alpn])?) } else { None };
        let scheme = if url.is_https { "https" } else { "http" };
        Ok(Self {
            ask: ask(&url, options, upload),
            method: method(options),
            uri: format!("{scheme}://{}{}", url.authority, url.path),
            fields: options.header.iter().map(|line| field(line)).collect::<Result<_, _>>()?,
            body: vec![b'u'; upload].into(),
            streams: if options.h2 { options.streams } else { 0 },
            url,
            tls,
            close,
            connections,
            limit,
            requests,
            rate,
        })
    }

    /// The part of executor `number` of `of`.
    fn share(&self, number: usize, of: usize) -> Self {
        let part = |all: u64| all / of as u64 + u64::from((number as u64) < all % of as u64);
        Self {
            connections: part(self.connections as u64) as usize,
            requests: self.requests.map(part),
            rate: self.rate.map(|rate| rate / of as f64),
            ..self.clone()
        }
    }
}

fn method(options: &Options) -> &'static str {
    if options.upload.is_some() { "POST" } else { "GET" }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("--header {line:?}: no colon"))?;
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

/// The octets of every request.
fn ask(url: &url::Url, options: &Options, upload: usize) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", method(options), url.path);
    if !options.header.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        head += &format!("Host: {}\r\n", url.authority);
    }
    for line in &options.header {
        head += &format!("{line}\r\n");
    }
    if options.close {
        head += "Connection: close\r\n";
    }
    if options.upload.is_some() {
        head += &format!("Content-Length: {upload}\r\n");
    }
    head += "\r\n";
    // Head and body leave in one write.
    [head.into_bytes(), vec![b'u'; upload]].concat()
}

async fn one(plan: Plan) -> Tally {
    let start = Instant::now();
    let pace = Rc::new(Pace::new(start, plan.limit, plan.requests, plan.rate));
    let tally = Rc::new(std::cell::RefCell::new(Tally::default()));
    let plan = Rc::new(plan);
    let tasks: Vec<_> = (0..plan.connections)
        .map(|_| {
            let (plan, pace, tally) = (plan.clone(), pace.clone(), tally.clone());
            match plan.streams {
                0 => glommio::spawn_local(connection::drive(plan, pace, tally)),
                _ => glommio::spawn_local(h2::drive(plan, pace, tally)),
            }
        })
        .collect();
    let all = async {
        for task in tasks {
            task.await;
        }
    };
    // Whoever hangs is left behind: its request is unfinished, or lost if a count was asked for.
    let end = async { glommio::timer::sleep(plan.limit).await };
    futures_lite::future::or(all, end).await;
    let elapsed = start.elapsed();
    let mut tally = tally.take();
    tally.elapsed = elapsed;
    let unfinished = pace.issued() - tally.finished();
    match plan.requests {
        Some(asked) => tally.timeouts = asked - tally.finished(),
        None => tally.unfinished = unfinished,
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct TestOptions {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn shares_add_up() {
        let command = ["load", "http://127.0.0.1:1/", "--connections", "7", "--requests", "100", "--h2"];
        let plan = Plan::new(&<TestOptions as clap::Parser>::parse_from(command).options).expect("valid");
        let shares: Vec<_> = (0..3).map(|number| plan.share(number, 3)).collect();
        assert_eq!(shares.iter().map(|share| share.connections).sum::<usize>(), 7);
        assert_eq!(shares.iter().filter_map(|share| share.requests).sum::<u64>(), 100);
    }
}
