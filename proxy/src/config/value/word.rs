//! Values that are one of a few words.

use crate::config::format::choices;

choices! {
    /// Which requests a wildcard host covers.
    pub enum HostWildcard {
        /// One label or more stand for `*`.
        Any = "any",
        /// Exactly one label stands for `*` (RFC 9525 section 6.3).
        One = "one",
    }
}

choices! {
    /// What clients and listeners speak.
    pub enum Protocol {
        /// HTTP/1.1 and 1.0 without TLS.
        Http = "http",
        /// HTTP over TLS.
        Https = "https",
    }
}

choices! {
    /// What becomes of clients that ask over TLS for a name of no certificate.
    pub enum UnknownSni {
        /// They are shown another certificate.
        Fallback = "fallback",
        /// They get an alert.
        Reject = "reject",
    }
}

choices! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// RFC 5246.
        Tls12 = "1.2",
        /// RFC 8446.
        Tls13 = "1.3",
    }
}

choices! {
    /// A protocol over TLS (RFC 7301).
    pub enum AlpnProtocol {
        /// HTTP/2.
        H2 = "h2",
        /// HTTP/1.1.
        Http11 = "http/1.1",
    }
}

choices! {
    /// Whether clients are asked for certificates.
    pub enum ClientAuthMode {
        /// They are not.
        Off = "off",
        /// They are, and may have none.
        Request = "request",
        /// They are, and must have one.
        Require = "require",
    }
}

choices! {
    /// How a request's authority is held against the certificate that its connection was shown.
    pub enum SniCheck {
        /// The certificate covers it.
        Certificate = "certificate",
        /// It is the name that the client asked for.
        Exact = "exact",
        /// It is not.
        Off = "off",
    }
}

choices! {
    /// What weir speaks to a target.
    pub enum TargetProtocol {
        /// HTTP/1.1.
        Http1 = "http1",
        /// HTTP/2 over TLS, and nothing else.
        H2 = "h2",
        /// HTTP/2 without TLS, known beforehand (RFC 9113 section 3.3).
        H2c = "h2c",
        /// HTTP/2 or HTTP/1.1 over TLS, as the origin agrees (RFC 7301).
        Auto = "auto",
    }
}

choices! {
    /// How a target learns by the PROXY protocol whose connection it gets.
    pub enum ProxyProtocol {
        /// Not at all.
        Off = "off",
        /// By a line of text.
        V1 = "v1",
        /// By octets.
        V2 = "v2",
    }
}

choices! {
    /// What becomes of a header field whose name holds an underscore.
    pub enum UnderscoreHeaders {
        /// It is left out.
        Drop = "drop",
        /// It stays.
        Allow = "allow",
        /// The request is refused.
        Reject = "reject",
    }
}

choices! {
    /// How a trusted peer's header names the client.
    pub enum ClientMode {
        /// Hops from right to left; the first that is no trusted peer is the client.
        TrustedChain = "trusted_chain",
        /// One line with one address.
        SingleIp = "single_ip",
    }
}

choices! {
    /// Who the client is where a trusted peer does not say, or says it wrongly.
    pub enum ClientDoubt {
        /// Nobody knows.
        Unknown = "unknown",
        /// The peer itself.
        Peer = "peer",
        /// The request is refused.
        Reject = "reject",
    }
}

choices! {
    /// How the upstream learns who the client is.
    pub enum Forwarded {
        /// X-Forwarded-For, -Host, -Proto, -Port and X-Real-IP.
        X = "x",
        /// Forwarded (RFC 7239).
        Rfc7239 = "rfc7239",
        /// Both.
        Both = "both",
        /// Not at all.
        Off = "off",
    }
}

choices! {
    /// What a route does with a path that spells a separator in percent-encoding.
    pub enum PathSecurity {
        /// Refuse it.
        Strict = "strict",
        /// Forward it as spelled.
        AllowEncodedSeparators = "allow_encoded_separators",
    }
}

choices! {
    /// What a route does.
    pub enum Action {
        /// Forward to a target.
        Forward = "forward",
        /// Answer with a redirect.
        Redirect = "redirect",
    }
}

choices! {
    /// How a header or query value is compared.
    pub enum MatchOp {
        /// The same octets.
        Equals = "equals",
        /// It begins so.
        Prefix = "prefix",
        /// It ends so.
        Suffix = "suffix",
        /// It holds this.
        Contains = "contains",
        /// The pattern is found in it.
        Regex = "regex",
        /// It is there, whatever it is.
        Present = "present",
    }
}

choices! {
    /// Whether a rule acts.
    pub enum RuleMode {
        /// It does.
        Enforce = "enforce",
        /// It is evaluated and recorded, and the client does not see it.
        Shadow = "shadow",
    }
}

choices! {
    /// What a rule does whose expression fails.
    pub enum OnError {
        /// It does not match.
        Skip = "skip",
        /// It matches.
        Match = "match",
    }
}

choices! {
    /// How a rate limit counts requests.
    pub enum LimitAlgorithm {
        /// A burst at once, then one at a time.
        TokenBucket = "token_bucket",
        /// The same; who comes too early may wait.
        LeakyBucket = "leaky_bucket",
        /// So many from one round time to the next.
        FixedWindow = "fixed_window",
        /// So many in any stretch of time.
        SlidingWindow = "sliding_window",
    }
}

choices! {
    /// What becomes of a key for which a limit's table has no room.
    pub enum OnFull {
        /// It is counted with others that found none.
        Share = "share",
        /// It passes uncounted.
        Allow = "allow",
        /// It is denied.
        Deny = "deny",
    }
}

choices! {
    /// The header fields that tell clients what a rate limit leaves them.
    pub enum LimitHeaders {
        /// Those of the draft and the older ones.
        Both = "both",
        /// RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10).
        Draft = "draft",
        /// RateLimit-Limit, -Remaining and -Reset, also with X-.
        Legacy = "legacy",
        /// None.
        None = "none",
    }
}

choices! {
    /// Where the requests of a rate limit are counted.
    pub enum LimitScope {
        /// In this process.
        Node = "node",
        /// In all nodes of the cluster together.
        Cluster = "cluster",
    }
}

choices! {
    /// How a redirect's Location is made.
    pub enum RedirectMode {
        /// Another path on the same host.
        SameHostPath = "same_host_path",
        /// The received path at another origin.
        ExternalOriginKeepPath = "external_origin_keep_path",
        /// This URL.
        AbsoluteUrl = "absolute_url",
        /// The same host and path by another scheme.
        Scheme = "scheme",
    }
}

choices! {
    /// How one of several targets or endpoints is picked.
    pub enum Balance {
        /// In turns.
        RoundRobin = "round_robin",
        /// By chance.
        Random = "random",
        /// Fewest requests in flight.
        LeastActiveRequests = "least_active_requests",
        /// In turns, by weight.
        WeightedRoundRobin = "weighted_round_robin",
        /// By chance, by weight.
        WeightedRandom = "weighted_random",
        /// Fewest requests in flight for its weight.
        WeightedLeastActiveRequests = "weighted_least_active_requests",
        /// The faster of two by chance.
        P2cEwma = "p2c_ewma",
        /// nginx's consistent hash.
        HashKetama = "hash_ketama",
        /// Maglev's table.
        HashMaglev = "hash_maglev",
    }
}

choices! {
    /// What becomes of packets that the kernel half would drop.
    pub enum KernelMode {
        /// They pass, and are counted.
        DryRun = "dry_run",
        /// Nothing looks at them.
        Off = "off",
        /// They are dropped.
        Enforce = "enforce",
    }
}

choices! {
    /// Where the kernel half meets packets.
    pub enum KernelAttach {
        /// In the driver if it can, else behind it.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// Behind the driver.
        Generic = "generic",
    }
}

choices! {
    /// Whether connections go to the worker of the CPU that received them.
    pub enum KernelSteer {
        /// If that loads no worker too much.
        Auto = "auto",
        /// Always.
        On = "on",
        /// Never.
        Off = "off",
    }
}

choices! {
    /// A part of the kernel half.
    pub enum KernelGroup {
        /// Drops packets.
        Drop = "drop",
        /// Reports what TCP does.
        Flow = "flow",
        /// Steers connections.
        Steer = "steer",
    }
}

choices! {
    /// A cookie's SameSite attribute.
    pub enum SameSite {
        /// Lax.
        Lax = "lax",
        /// Strict.
        Strict = "strict",
        /// None.
        None = "none",
    }
}

choices! {
    /// How an endpoint's health is probed.
    pub enum HealthKind {
        /// A request's status.
        Http = "http",
        /// A connection.
        Tcp = "tcp",
        /// What the origin says of itself by gRPC (grpc.health.v1).
        Grpc = "grpc",
    }
}

choices! {
    /// A probe's method.
    pub enum HealthMethod {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
    }
}

choices! {
    /// What an endpoint is before its first probes are over.
    pub enum HealthStart {
        /// Usable.
        Unknown = "unknown",
        /// Not usable.
        Unhealthy = "unhealthy",
    }
}

choices! {
    /// What a group does whose endpoints are all unhealthy.
    pub enum AllUnhealthy {
        /// Answer 503.
        Fail = "fail",
        /// Use all of the lowest group.
        UseAll = "use_all",
    }
}

choices! {
    /// What a template is for.
    pub enum TemplateKind {
        /// The body of a static answer.
        GenericBody = "generic_body",
    }
}

choices! {
    /// How weir's own log is written.
    pub enum LogFormat {
        /// For people on a terminal, else JSON.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// For people.
        Console = "console",
    }
}

choices! {
    /// How much of weir's own log is written.
    pub enum LogLevel {
        /// What needs an operator now.
        Error = "error",
        /// What may.
        Warn = "warn",
        /// What changed.
        Info = "info",
        /// What was decided.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
        /// Nothing.
        Off = "off",
    }
}

choices! {
    /// How an access log's lines look.
    pub enum AccessLogFormat {
        /// One JSON object a line.
        Json = "json",
        /// Apache's combined format.
        Combined = "combined",
        /// The table's own template.
        Template = "template",
    }
}

choices! {
    /// Where an access log goes.
    pub enum AccessLogOutput {
        /// To a file.
        File = "file",
        /// To standard output.
        Stdout = "stdout",
    }
}
