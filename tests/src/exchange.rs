//! Simple exchanges: one request, one response, one connection.

use std::net::SocketAddr;

use crate::client::Client;
use crate::message::Response;

/// GETs a path.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], b"")
}

/// GETs a path of the management API, which answers to its own names alone.
#[track_caller]
pub fn manage(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[("Host", "localhost")], b"")
}

/// Sends a request with fields and a body, `Connection: close`, `Host: test` unless the fields hold one.
#[track_caller]
pub fn request(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
    let mut client = Client::connect(address);
    client.write(bytes(method, path, &[fields, &[("Connection", "close")]].concat(), body));
    client.response_to(method)
}

/// The octets of a request; Host and Content-Length are added where they lack.
pub fn bytes(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |name: &str| fields.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !has("host") {
        head += "Host: test\r\n";
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    [head.as_bytes(), body].concat()
}
