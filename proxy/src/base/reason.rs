//! Every way a request can end: one table, from which code, metrics, logs, error pages and the reference derive.

use super::Party;

macro_rules! reasons {
    ($($name:ident, $token:literal, $status:literal, $party:ident, $term:literal, $text:literal;)*) => {
        /// The final reason of a request. `Ok` if no stage refused or failed, whatever the origin's status.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $text] $name,)*
        }

        impl Reason {
            /// All reasons, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The token of logs, metrics, traces and error bodies.
            pub const fn token(self) -> &'static str {
                match self { $(Self::$name => $token,)* }
            }

            /// The status that answers it; 0 where the connection ends without an answer.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Who is at fault.
            pub const fn party(self) -> Party {
                match self { $(Self::$name => Party::$party,)* }
            }

            /// HAProxy's two letters: who ended it, and in which phase.
            pub const fn term(self) -> &'static str {
                match self { $(Self::$name => $term,)* }
            }

            /// One sentence for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    Ok, "ok", 0, Us, "--", "no stage refused or failed";

    BadRequestLine, "bad_request_line", 400, Client, "PR", "the request line is malformed";
    VersionUnsupported, "version_unsupported", 505, Client, "PR", "the HTTP version is not supported";
    MethodNotAllowed, "method_not_allowed", 405, Client, "PR", "the method is not allowed here";
    BadLineEnding, "bad_line_ending", 400, Client, "PR", "a line does not end in CRLF, or a control octet stands in it";
    InvalidRequestTarget, "invalid_request_target", 400, Client, "PR", "invalid request target";
    HostMismatch, "host_mismatch", 400, Client, "PR", "Host and the target's authority differ";
    TargetTooLong, "target_too_long", 414, Client, "PR", "the request target is too long";
    HeadersTooLarge, "headers_too_large", 431, Client, "PR", "the header section is too large";
    HeadersTooMany, "headers_too_many", 431, Client, "PR", "there are too many header fields";
    BadHeaderName, "bad_header_name", 400, Client, "PR", "a header field name is malformed";
    ObsFold, "obs_fold", 400, Client, "PR", "a header line is folded";
    BadHeaderValue, "bad_header_value", 400, Client, "PR", "a header field value holds a control octet";
    HostMissing, "host_missing", 400, Client, "PR", "the Host header is missing";
    HostInvalid, "host_invalid", 400, Client, "PR", "the Host header is invalid";
    ContentLengthInvalid, "content_length_invalid", 400, Client, "PR", "Content-Length is invalid";
    TransferEncodingInvalid, "transfer_encoding_invalid", 400, Client, "PR", "Transfer-Encoding is invalid";
    LengthConflict, "length_conflict", 400, Client, "PR", "Content-Length and Transfer-Encoding together";
    ChunkInvalid, "chunk_invalid", 400, Client, "PD", "the chunked body is malformed";
    TrailersTooLarge, "trailers_too_large", 431, Client, "PD", "the trailer section is too large";
    ConnectWithBody, "connect_with_body", 400, Client, "PR", "CONNECT has no body";
    HeaderUnderscore, "header_underscore", 400, Client, "PR", "a header field name holds an underscore";
    ConnectionNominates, "connection_nominates", 400, Client, "PR", "Connection names a header that may not be dropped";
    QueryTooMany, "query_too_many", 400, Client, "PR", "the query has too many pairs";
    ExpectationFailed, "expectation_failed", 417, Client, "PR", "the expectation is not supported";
    ProtocolUnsupported, "protocol_unsupported", 501, Client, "PR", "the upgrade protocol is not supported";
    LoopDetected, "loop_detected", 508, Client, "PR", "the request went through this proxy too often";
    ClientClosed, "client_closed", 0, Client, "CR", "the client closed before a whole head";
    ClientCancelled, "client_cancelled", 499, Client, "CD", "the client went away";
    RequestHeaderTimeout, "request_header_timeout", 408, Client, "cR", "the head did not arrive in time";
    RequestBodyTimeout, "request_body_timeout", 408, Client, "cD", "the body did not arrive in time";
    ClientTooSlow, "client_too_slow", 0, Client, "cD", "the client took the response too slowly";
    BodyTooLarge, "body_too_large", 413, Client, "PD", "the body is too large";
    H2Malformed, "h2_malformed", 0, Client, "PR", "HTTP/2 frames or a head in them are malformed";
    H2Flood, "h2_flood", 0, Policy, "PC", "too many HTTP/2 frames that only cost";
    ProxyHeaderInvalid, "proxy_header_invalid", 0, Client, "PR", "the connection does not begin with a valid PROXY header";
    ProxyHeaderTimeout, "proxy_header_timeout", 0, Client, "cR", "the PROXY header did not arrive in time";
    TlsTimeout, "tls_timeout", 0, Client, "cR", "the TLS handshake took too long";
    TlsVersion, "tls_version", 0, Client, "PR", "the client speaks no TLS version that is spoken here";
    TlsAlpn, "tls_alpn", 0, Client, "PR", "the client speaks no protocol that is offered here";
    TlsUnknownSni, "tls_unknown_sni", 0, Client, "PR", "there is no certificate for the name that the client asks for";
    TlsClientCert, "tls_client_cert", 0, Client, "PR", "the client's certificate is missing or not trusted";
    TlsError, "tls_error", 0, Client, "PR", "the TLS handshake failed";
    ConnectionLimit, "connection_limit", 0, Policy, "PC", "too many connections";
    Overloaded, "overloaded", 503, Us, "RC", "too many requests in flight";

    ClientIdentityInvalid, "client_identity_invalid", 400, Client, "PR", "the trusted proxy's header does not name the client";
    Banned, "banned", 403, Policy, "PR", "the client is banned";
    KernelDenied, "kernel_denied", 0, Policy, "PC", "the source is on the kernel's deny list";
    ClientConcurrency, "client_concurrency", 429, Policy, "PR", "the client has too many requests in flight";
    RateLimited, "rate_limited", 429, Policy, "PR", "Rate limit exceeded";

    MisdirectedRequest, "misdirected_request", 421, Client, "PR", "the connection's certificate or name is not for this host";
    HostNotServed, "host_not_served", 421, Client, "PR", "host not served here";
    NoRoute, "no_route", 404, Policy, "LR", "no route matches";
    RedirectFailed, "redirect_failed", 500, Policy, "PR", "no valid redirect";
    RewriteFailed, "rewrite_failed", 500, Policy, "PR", "no valid path after the rewrite";
    NoRouteTargetAvailable, "no_route_target_available", 503, Upstream, "SC", "no target is available";
    UpstreamQueueFull, "upstream_queue_full", 503, Upstream, "SQ", "upstream is busy";
    UpstreamQueueTimeout, "upstream_queue_timeout", 503, Upstream, "sQ", "upstream is busy";

    UpstreamDnsFailed, "upstream_dns_failed", 502, Upstream, "SC", "the upstream's name does not resolve";
    UpstreamConnectRefused, "upstream_connect_refused", 502, Upstream, "SC", "the upstream refused the connection";
    UpstreamUnreachable, "upstream_unreachable", 502, Upstream, "SC", "the upstream is unreachable";
    UpstreamConnectTimeout, "upstream_connect_timeout", 504, Upstream, "sC", "the upstream did not accept in time";
    UpstreamTlsTimeout, "upstream_tls_timeout", 504, Upstream, "sC", "the TLS handshake with the upstream took too long";
    UpstreamTlsFailed, "upstream_tls_failed", 502, Upstream, "SC", "the TLS handshake with the upstream failed";
    UpstreamCertInvalid, "upstream_cert_invalid", 502, Upstream, "SC", "the upstream's certificate is not valid for it";
    UpstreamRefused, "upstream_refused", 502, Upstream, "SH", "the upstream refused the request unprocessed";
    UpstreamClosed, "upstream_closed", 502, Upstream, "SH", "the upstream closed before its response";
    UpstreamReset, "upstream_reset", 502, Upstream, "SH", "the upstream reset the connection";
    UpstreamResponseHeaderTimeout, "upstream_response_header_timeout", 504, Upstream, "sH", "the upstream's response did not begin in time";
    UpstreamTryTimeout, "upstream_try_timeout", 504, Upstream, "sH", "the try took too long";
    UpstreamWriteTimeout, "upstream_write_timeout", 504, Upstream, "sH", "the upstream did not take the request in time";
    UpstreamBadResponse, "upstream_bad_response", 502, Upstream, "PH", "the upstream's response is malformed";
    UpstreamBadUpgrade, "upstream_bad_upgrade", 502, Upstream, "PH", "the upstream's upgrade is wrong";
    UpstreamBodyTruncated, "upstream_body_truncated", 502, Upstream, "SD", "the upstream closed within its response";
    UpstreamBodyTimeout, "upstream_body_timeout", 502, Upstream, "sD", "the upstream stalled within its response";

    RequestTimeout, "request_timeout", 504, Policy, "PD", "the request took too long";
    TunnelIdle, "tunnel_idle", 0, Policy, "PD", "the tunnel was silent";
    ShutdownCut, "shutdown_cut", 0, Us, "KD", "the drain ended before the request";
    InternalError, "internal_error", 500, Us, "ID", "internal error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unique_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for reason in Reason::ALL {
            assert!(seen.insert(reason.token()), "{} stands twice", reason.token());
            assert!(reason.token().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            assert_eq!(reason.term().len(), 2);
        }
    }
}
