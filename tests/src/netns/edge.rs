//! weir at the edge of a network: on one side of a wire, in a cgroup of its own; its clients on the other.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{Cgroup, Pair};
use crate::client::Client;
use crate::config::Config;
use crate::exchange::{bytes, request};
use crate::message::{Bad, Response};
use crate::weir::Weir;

/// The place, without weir in it yet. The thread that makes it is on weir's side from then on: whatever it starts is
/// there, and weir's management too.
pub struct Edge {
    /// The network.
    pub pair: Pair,
    /// What weir starts in.
    pub cgroup: Cgroup,
}

impl Default for Edge {
    fn default() -> Self {
        Self::new()
    }
}

impl Edge {
    /// A new one.
    pub fn new() -> Self {
        let pair = Pair::new();
        pair.server.enter();
        Self { pair, cgroup: Cgroup::domain() }
    }

    /// A weir that forwards to an origin, with its listener on the wire.
    pub fn config(&self, origin: &str) -> Config {
        Config::forwarding(origin).address(Pair::SERVER).under(&self.cgroup.starter())
    }

    /// A listener of the machine that is not weir's, such as ssh.
    pub fn other_listener(&self) -> TcpListener {
        TcpListener::bind((Pair::SERVER, 0)).expect("a free port")
    }

    /// Connects from one of the client's addresses, and says how that went.
    pub fn connect(&self, from: IpAddr, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        self.pair.client.run(|| {
            let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            socket.connect_timeout(&to.into(), limit)?;
            Ok(socket.into())
        })
    }

    /// Whether a client reaches a listener: SYNs that are dropped get no answer.
    pub fn reaches(&self, from: IpAddr, to: SocketAddr) -> bool {
        // The kernel says again what got no answer after a second: one loss is none.
        self.connect(from, to, Duration::from_millis(1500)).is_ok()
    }

    /// A connection to weir from one of the client's addresses.
    #[track_caller]
    pub fn client(&self, from: IpAddr, weir: &Weir) -> Client {
        let to = weir.web();
        self.pair.client.run(|| Client::try_connect_from(from, to)).unwrap_or_else(|e| panic!("{from} to {to}: {e}"))
    }

    /// GETs a path from one of the client's addresses, on a connection of its own.
    #[track_caller]
    pub fn get(&self, from: IpAddr, weir: &Weir, path: &str, fields: &[(&str, &str)]) -> Response {
        ask(&mut self.client(from, weir), path, fields).expect("a response")
    }

    /// GETs a path so often from one of the client's addresses, each after the other; the statuses by their number.
    #[track_caller]
    pub fn statuses(&self, from: IpAddr, weir: &Weir, requests: usize, fields: &[(&str, &str)]) -> Vec<u16> {
        let mut client = self.client(from, weir);
        let mut statuses = Vec::with_capacity(requests);
        while statuses.len() < requests {
            let response = ask(&mut client, "/", fields).expect("a response");
            statuses.push(response.status);
            if response.fields.names("connection", "close") {
                client = self.client(from, weir);
            }
        }
        statuses
    }
}

/// One exchange on a connection.
pub fn ask(client: &mut Client, path: &str, fields: &[(&str, &str)]) -> Result<Response, Bad> {
    client.try_write(&bytes("GET", path, fields, b"")).map_err(Bad::Io)?;
    client.try_response("GET")
}

/// Whom the kernel denies, as the management API shows them.
#[track_caller]
pub fn denied(weir: &Weir) -> Vec<Value> {
    weir.api("/api/v1/kernel/deny")["denied"].as_array().expect("a list").clone()
}

/// The entry of a source.
#[track_caller]
pub fn entry(weir: &Weir, source: IpAddr) -> Option<Value> {
    denied(weir).into_iter().find(|entry| entry["address"] == source.to_string())
}

/// Has an operator deny a source.
#[track_caller]
pub fn deny(weir: &Weir, source: IpAddr, ttl: &str) -> Response {
    let body = format!("{{\"address\":\"{source}\",\"ttl\":\"{ttl}\"}}");
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    request(weir.management(), "POST", "/api/v1/kernel/deny", &fields, body.as_bytes())
}

/// What the management API says of the kernel's half.
#[track_caller]
pub fn kernel(weir: &Weir) -> Value {
    weir.api("/api/v1/kernel")
}

/// One of its groups; null while it has not said anything yet.
#[track_caller]
pub fn group(weir: &Weir, name: &str) -> Value {
    let kernel = kernel(weir);
    let groups = kernel["groups"].as_array().expect("groups");
    groups.iter().find(|group| group["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Codes of its warnings.
#[track_caller]
pub fn warnings(weir: &Weir) -> Vec<String> {
    let ready = weir.api("/ready");
    let warnings = ready["warnings"].as_array().expect("warnings");
    warnings.iter().filter_map(|warning| warning["code"].as_str().map(str::to_owned)).collect()
}
