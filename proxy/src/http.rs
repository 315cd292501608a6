//! HTTP messages: parsing, framing, serialising; no I/O and no clock.
//!
//! Octets of one connection come in, values go out: a [`Head`] or [`ResponseHead`] keeps ranges into the receive buffer
//! and is reused from message to message; [`Request`] and [`Response`] are such a head beside its octets. What leaves is
//! written from these values, never copied through.

mod body;
mod chunked;
mod edits;
mod fields;
mod forward;
pub mod h2;
mod head;
mod host;
mod known;
mod octets;
mod parse;
mod path;
mod query;
mod response;
mod scan;
mod semantics;
mod upgrade;
mod uri;
mod write;

pub use body::{BodyLength, BodyReader, Piece, Side};
pub use chunked::{Trailers, trailer_section};
pub use edits::Edits;
pub use fields::{Field, Span};
pub use forward::{Before, Forwarded, Forwarding};
pub use head::{Head, Method, Request, Version};
pub use host::{HostError, normalise_host};
pub use known::Known;
pub use octets::{is_field_value, is_token};
pub use parse::{HeadLimits, Underscore, parse_request};
pub use path::{Paths, encode_path, has_path_prefix, read_path};
pub use query::{Pairs, query_pairs};
pub use response::{INTERIM_MAX, Response, ResponseHead, parse_response, status_text};
pub use upgrade::{WebSocket, websocket_accept};
pub use uri::Form;
pub use write::{
    ClientCert, Connection, RequestOut, ResponseOut, client_body, write_chunk_end, write_chunk_start, write_continue,
    write_interim, write_last_chunk, write_request_head, write_response_head,
};

#[cfg(test)]
mod tests;
