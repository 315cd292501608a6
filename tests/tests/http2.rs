//! HTTP/2 with clients, end to end: one path for both versions, what only HTTP/2 has, and how its connections end. The
//! frames themselves are the matter of `h2_conformance` and `h2_attacks`.

#[path = "http2/bodies.rs"]
mod bodies;
#[path = "http2/ends.rs"]
mod ends;
#[path = "http2/grpc.rs"]
mod grpc;
#[path = "http2/settings.rs"]
mod settings;
#[path = "http2/tunnels.rs"]
mod tunnels;
