//! Questions to name servers, by hickory-resolver.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::Settings;
use super::entry::Answer;

/// A name that gives neither address nor failure within this time has failed, however many servers and search domains
/// there are to try.
const QUESTION_MAX: Duration = Duration::from_secs(10);

/// A resolver without a cache: TTLs are kept per name, with the bounds of the configuration.
pub(super) struct Lookups(TokioResolver);

impl Lookups {
    /// None where the system names no server and none is configured.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio()
                .inspect_err(|error| tracing::warn!(%error, "/etc/resolv.conf cannot be used"))
                .ok()?
        } else {
            TokioResolver::builder_with_config(config(settings), TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = settings.timeout;
        options.attempts = 1;
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Always;
        builder.build().inspect_err(|error| tracing::warn!(%error, "no resolver can be made")).ok().map(Self)
    }

    pub(super) async fn ask(&self, name: &str) -> Answer {
        match tokio::time::timeout(QUESTION_MAX, self.0.lookup_ip(name)).await {
            Ok(Ok(found)) => {
                let ips: Vec<IpAddr> = found.iter().collect();
                let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min().unwrap_or(0);
                if ips.is_empty() {
                    Answer::Absent
                } else {
                    Answer::Addresses { ips, ttl: Duration::from_secs(ttl.into()) }
                }
            }
            Ok(Err(error)) => failure(&error),
            Err(_) => Answer::Failed("no answer in time".to_owned()),
        }
    }
}

fn config(settings: &Settings) -> ResolverConfig {
    let servers = settings.servers.iter().map(|server| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        config.connections.iter_mut().for_each(|connection| connection.port = server.port());
        config
    });
    ResolverConfig::from_parts(None, Vec::new(), servers.collect())
}

/// A server that says there is nothing has answered; one that says it cannot has not (RFC 1035 section 4.1.1).
fn failure(error: &NetError) -> Answer {
    use hickory_resolver::net::DnsError;
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Answer::Absent
        }
        other => Answer::Failed(other.to_string()),
    }
}
