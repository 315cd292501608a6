//! `weir status`: whether the running weir is ready, and if not, why.

mod text;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{Exit, Source, client, duration};

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// `weir status [--wait DURATION] [-o json] [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Wait so long for it to become ready: `30`, `30s`, `2m`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub wait: Option<Duration>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
    /// The document that says where the management API listens.
    #[command(flatten)]
    pub source: Source,
}

/// How an answer looks.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Text,
    /// As the management API gives it.
    Json,
}

/// What a look at the running weir found.
enum Seen {
    /// weir answers.
    Answer(Answer),
    /// Nobody does, or somebody else.
    Nobody(SocketAddr, String),
}

/// The answers that say how weir is.
struct Answer {
    address: SocketAddr,
    health: Value,
    ready: Value,
    stats: Value,
    kernel: Value,
}

impl Seen {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.ready["ready"] == true)
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Answer(_) if self.is_ready() => Exit::Yes,
            Self::Answer(_) => Exit::No,
            Self::Nobody(..) => Exit::Unreachable,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Answer(answer) => json!({
                "management": answer.address, "health": answer.health, "ready": answer.ready, "stats": answer.stats,
                "kernel": answer.kernel,
                "next": text::next(answer),
            }),
            Self::Nobody(address, why) => json!({ "management": address, "error": why }),
        }
    }
}

/// Asks the management API that the document names.
pub fn status(arguments: &Arguments) -> Exit {
    let document = match arguments.source.load() {
        Ok(document) => document,
        Err(problems) => {
            eprint!("{problems}");
            return Exit::of_input(&problems);
        }
    };
    let addresses = &document.management.listen;
    if addresses.is_empty() {
        eprintln!("weir status: {} has no management.listen to ask", arguments.source.name());
        return Exit::Unreachable;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("weir status: {error}");
            return Exit::System;
        }
    };
    let seen = runtime.block_on(watch(addresses, arguments.wait));
    print(&seen, arguments.output);
    match (seen.exit(), arguments.wait) {
        (Exit::Yes, _) => Exit::Yes,
        (_, Some(_)) => Exit::Timeout,
        (exit, None) => exit,
    }
}

fn print(seen: &Seen, output: Output) {
    // Whoever closed the output does not want the text; the status still says it.
    let _ = match (output, seen) {
        (Output::Json, seen) => writeln!(io::stdout(), "{:#}", seen.json()),
        (Output::Text, Seen::Answer(answer)) => write!(io::stdout(), "{}", text::show(answer)),
        (Output::Text, Seen::Nobody(address, why)) => writeln!(io::stderr(), "weir status: {address}: {why}"),
    };
}

/// Looks until weir is ready or the time is over; without a time, once.
async fn watch(addresses: &[SocketAddr], wait: Option<Duration>) -> Seen {
    let deadline = wait.map(|wait| Instant::now() + wait);
    loop {
        let look_end = Instant::now() + LOOK_MAX;
        let seen = look(addresses, deadline.map_or(look_end, |deadline| deadline.min(look_end))).await;
        let again = Instant::now() + PAUSE;
        // A look that the deadline cuts short would find less than this one.
        if seen.is_ready() || deadline.is_none_or(|deadline| again >= deadline) {
            return seen;
        }
        sleep_until(again).await;
    }
}

/// Asks the first address at which somebody answers.
async fn look(addresses: &[SocketAddr], deadline: Instant) -> Seen {
    let mut nobody = None;
    for &address in addresses {
        match ask(address, deadline).await {
            Ok(answer) => return Seen::Answer(answer),
            Err(error) => nobody = nobody.or(Some(Seen::Nobody(address, why(&error)))),
        }
    }
    nobody.unwrap_or_else(|| Seen::Nobody((std::net::Ipv4Addr::LOCALHOST, 0).into(), "no address".to_owned()))
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there: is weir running with this document?".to_owned(),
        io::ErrorKind::TimedOut => "no answer in time".to_owned(),
        _ => format!("it does not answer as weir does: {error}"),
    }
}

async fn ask(address: SocketAddr, deadline: Instant) -> io::Result<Answer> {
    Ok(Answer {
        address,
        health: json_of(address, "/health", deadline).await?,
        ready: json_of(address, "/ready", deadline).await?,
        stats: json_of(address, "/api/v1/stats", deadline).await?,
        kernel: json_of(address, "/api/v1/kernel", deadline).await?,
    })
}

/// An object, whatever the status: /ready says no with one.
async fn json_of(address: SocketAddr, path: &str, deadline: Instant) -> io::Result<Value> {
    let answer = client::get(address, path, deadline).await?;
    let value = serde_json::from_slice(&answer.body).ok().filter(|value: &Value| value["node_id"].is_string());
    value.ok_or_else(|| io::Error::other(format!("{path} is answered with {}", answer.status)))
}
