//! What a request passes before it is routed: rules, and what they do with the requests that they match.

pub mod limit;
