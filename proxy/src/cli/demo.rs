//! `weir demo`: weir at work on this machine, with origins, routes and traffic of its own.

mod document;
mod folder;
mod origins;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, interval};

use super::{Exit, Source, client, duration, run};
use crate::control::Signal;
use document::{TRIES, Try};
use folder::Folder;
use origins::Origins;

/// From one request of the background traffic to the next.
const TRAFFIC_PAUSE: Duration = Duration::from_millis(200);
/// How long one of them may take.
const TRAFFIC_MAX: Duration = Duration::from_secs(5);

/// `weir demo [--listen ADDRESS] [--management ADDRESS] [--for DURATION]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Where the demo listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Where its management API listens; loopback.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9900", value_parser = address)]
    pub management: SocketAddr,
    /// End by itself after so long: `30`, `30s`, `2m`.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub end_after: Option<Duration>,
}

/// Runs the demo until a signal, or its time, ends it.
pub fn demo(arguments: &Arguments) -> Exit {
    stage(arguments).unwrap_or_else(|message| {
        eprintln!("weir demo: {message}");
        Exit::System
    })
}

fn stage(arguments: &Arguments) -> Result<Exit, String> {
    // The proxy itself would go on trying; nobody watches a demo that shows nothing.
    TcpListener::bind(arguments.listen)
        .map_err(|error| format!("cannot listen on {}: {error}; choose another by --listen", arguments.listen))?;
    let told = |error: io::Error| error.to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(told)?;
    let origins = runtime.block_on(Origins::start()).map_err(told)?;
    let folder = Folder::new().map_err(told)?;
    let text = document::text(arguments.listen, arguments.management, &origins, &folder.path("state"));
    let path = folder.write("weir.toml", &text).map_err(told)?;
    let running = match run::start(&Source { config: Some(path.clone()) }) {
        Ok(running) => running,
        Err(exit) => return Ok(exit),
    };
    let seen_at = reachable(arguments.listen);
    // Whoever closed the output can still look at the page.
    let _ = io::stdout().write_all(greeting(seen_at, arguments.management, &path).as_bytes());
    runtime.spawn(traffic(seen_at));
    end_in_time(&runtime, &running, arguments.end_after);
    Ok(running.wait())
}

/// Where this machine reaches a listener.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn end_in_time(runtime: &Runtime, running: &run::Running, end_after: Option<Duration>) {
    let Some(end_after) = end_after else { return };
    let signals = running.signals();
    runtime.spawn(async move {
        tokio::time::sleep(end_after).await;
        let _ = signals.send(Signal::Stop).await;
    });
}

/// A few requests a second, so that counters move. What becomes of them is for the demo to show.
async fn traffic(address: SocketAddr) {
    let mut turns = interval(TRAFFIC_PAUSE);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for Try { path, .. } in TRIES.iter().cycle() {
        turns.tick().await;
        let _ = client::get(address, path, Instant::now() + TRAFFIC_MAX).await;
    }
}

fn greeting(at: SocketAddr, management: SocketAddr, document: &Path) -> String {
    let document = document.display();
    let mut text = format!("weir demo: open http://{at}/ or try\n\n");
    for Try { path, shows } in TRIES {
        let call = format!("curl -si 'http://{at}{path}'");
        text += &format!("  {call:52}  # {shows}\n");
    }
    text += "\nwhat weir says of it:\n\n";
    for call in [
        format!("curl -s http://{management}/api/v1/stats"),
        format!("curl -s http://{management}/api/v1/routes"),
        format!("curl -s http://{management}/metrics"),
        format!("weir status --config {document}"),
        format!("weir explain GET 'http://{at}/app/users' --config {document}"),
    ] {
        text += &format!("  {call}\n");
    }
    text + "\nIts configuration is the document named above. Ctrl-C ends it all.\n"
}

/// An address that commands can name: port 0 is none.
fn address(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.port() != 0);
    address.ok_or_else(|| "an address is IP:PORT, such as 127.0.0.1:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        assert!(address("127.0.0.1:8080").is_ok() && address("[::1]:80").is_ok());
        assert!(address("127.0.0.1:0").is_err() && address("localhost").is_err());
    }

    #[test]
    fn unspecified_listener_is_reached_over_loopback() {
        let shown = |text: &str| address(text).map(|address| reachable(address).to_string());
        assert_eq!(shown("0.0.0.0:80").as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(shown("[::]:80").as_deref(), Ok("[::1]:80"));
        assert_eq!(shown("127.0.0.2:80").as_deref(), Ok("127.0.0.2:80"));
    }
}
