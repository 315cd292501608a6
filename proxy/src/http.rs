//! HTTP messages: parsing, framing, serialising; no I/O and no clock.
