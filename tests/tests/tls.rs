//! TLS on both sides of the real binary: handshakes good, bad, slow and cut; what a request knows of it; upstreams.

mod tls {
    mod handshake;
    mod requests;
    mod upstream;
}
