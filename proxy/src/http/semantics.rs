//! What fields mean for framing and for the connection: lengths, codings, connection options.
