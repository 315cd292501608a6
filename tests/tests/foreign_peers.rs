//! Other people's TLS, HTTP/2, gRPC and WebSocket on both sides of weir: curl, nghttp, h2load, openssl, Chromium,
//! Python's grpcio and websockets, testssl.sh.

#[path = "foreign_peers/browser.rs"]
mod browser;
#[path = "foreign_peers/clients.rs"]
mod clients;
#[path = "foreign_peers/python.rs"]
mod python;
#[path = "foreign_peers/stand.rs"]
mod stand;
#[path = "foreign_peers/tls.rs"]
mod tls;
