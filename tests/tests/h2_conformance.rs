//! RFC 9113 and RFC 7541 frame by frame: whatever a client can break, section by section, with the answer that the RFC
//! asks for, and beside each break what is allowed and must work.

#[path = "h2_conformance/connection.rs"]
mod connection;
#[path = "h2_conformance/flow.rs"]
mod flow;
#[path = "h2_conformance/frames.rs"]
mod frames;
#[path = "h2_conformance/hpack.rs"]
mod hpack;
#[path = "h2_conformance/messages.rs"]
mod messages;
#[path = "h2_conformance/preface.rs"]
mod preface;
#[path = "h2_conformance/settings.rs"]
mod settings;
#[path = "h2_conformance/stand.rs"]
mod stand;
#[path = "h2_conformance/streams.rs"]
mod streams;
