//! What is added up, what is kept apart, and what is bounded.

use std::collections::HashMap;

use super::*;

fn denial<'a>(host: &'a str, client: [u8; 4]) -> Denial<'a> {
    let one = Denial::new(Kind::BadRequest, "http", "obs_fold", Reason::ObsFold);
    Denial { host, client: Some(client.into()), listener: "web", ..one }
}

#[test]
fn equal_denials_are_one_finding_with_a_count() {
    let mut findings = Findings::default();
    for n in 0..1_000_u64 {
        let request = Some(RequestId(u128::from(n)));
        assert!(findings.add(&Denial { request, ..denial("a.test", [192, 0, 2, (n % 2) as u8]) }, 100 + n / 500));
    }
    let found = findings.take();
    assert_eq!((found.len(), found[0].count, found[0].seen), (1, 1_000, (100, 101)));
    assert_eq!((found[0].reason, found[0].status), ("obs_fold", 400));
    assert_eq!(found[0].clients.iter().map(|(_, count)| count).collect::<Vec<_>>(), [500, 500]);
    assert_eq!(found[0].requests.iter().map(|id| id.0).collect::<Vec<_>>(), [995, 996, 997, 998, 999]);
    assert!(findings.is_empty() && findings.take().is_empty());
}

#[test]
fn each_part_of_the_key_keeps_findings_apart() {
    let one = denial("a.test", [192, 0, 2, 1]);
    let others = [
        Denial { kind: Kind::RateLimited, ..one },
        Denial { action: Action::WouldDeny, ..one },
        Denial { table: "rate_limit", ..one },
        Denial { rule: "host_missing", ..one },
        Denial { listener: "other", ..one },
        Denial { host: "b.test", ..one },
        Denial { sni: "a.test", ..one },
        Denial { fqdn: "a.test", ..one },
        Denial { dst_ip: Some([10, 0, 0, 1].into()), ..one },
        Denial { dst_port: Some(80), ..one },
        Denial { proto: Some(17), ..one },
        Denial { query_type: Some(1), ..one },
    ];
    let mut findings = Findings::default();
    assert!(others.iter().chain([&one]).all(|denial| findings.add(denial, 1)));
    assert_eq!(findings.take().len(), others.len() + 1);
}

#[test]
fn sources_are_findings_of_their_own_only_for_bans_and_early_drops() {
    for (kind, expected) in [(Kind::Banned, 3), (Kind::EarlyDrop, 3), (Kind::BadRequest, 1), (Kind::RateLimited, 1)] {
        let mut findings = Findings::default();
        (1..=3).for_each(|last| assert!(findings.add(&Denial { kind, ..denial("", [192, 0, 2, last]) }, 1)));
        assert_eq!(findings.take().len(), expected, "{kind:?}");
    }
}

#[test]
fn names_that_do_not_fit_are_counted_together_and_then_lost() {
    let mut findings = Findings::default();
    let hosts: Vec<String> = (0..FINDINGS_MAX + 500).map(|n| format!("h{n}.test")).collect();
    assert!(hosts.iter().all(|host| findings.add(&denial(host, [192, 0, 2, 1]), 1)));
    let rules: Vec<String> = (0..NAMELESS_MAX).map(|n| format!("r{n}")).collect();
    let lost = rules.iter().filter(|rule| !findings.add(&Denial { rule, ..denial("x.test", [1; 4]) }, 1)).count();
    assert_eq!(lost, 1, "one of the nameless is that of the hosts");
    let found = findings.take();
    assert_eq!(found.len(), FINDINGS_MAX + NAMELESS_MAX);
    let others = found.iter().find(|finding| *finding.key.host == *OTHER && *finding.key.rule == *"obs_fold");
    assert_eq!(others.map(|finding| finding.count), Some(500));
}

#[test]
fn long_names_are_cut_between_characters() {
    let mut findings = Findings::default();
    let long = "ä".repeat(300);
    assert!(findings.add(&denial(&long, [1; 4]), 1) && findings.add(&denial(&long[..NAME_MAX + 1], [1; 4]), 1));
    let found = findings.take();
    assert_eq!((found.len(), found[0].count, found[0].key.host.len()), (1, 2, 254));
}

#[test]
fn the_heaviest_clients_are_named_with_counts_that_are_never_too_high() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut clients, mut plain) = (Clients::default(), HashMap::<IpAddr, u64>::new());
        for _ in 0..5_000 {
            // A few come often, many seldom.
            let last = if random.u8(..) < 160 { random.u8(0..4) } else { random.u8(4..) };
            let (ip, times) = (IpAddr::from([192, 0, 2, last]), random.u64(1..4));
            clients.add(ip, times);
            *plain.entry(ip).or_default() += times;
        }
        let all: u64 = plain.values().sum();
        let ninth = all / (CLIENTS_MAX as u64 + 1);
        let shown: HashMap<_, _> = clients.iter().collect();
        assert!(shown.len() <= CLIENTS_MAX);
        for (ip, count) in &plain {
            let told = shown.get(ip).copied().unwrap_or(0);
            assert!(told <= *count && told + ninth >= *count, "seed {seed}: {ip} {told} of {count}, all {all}");
        }
    }
}

#[test]
fn reasons_of_the_form_are_bad_requests_and_failures_are_none() {
    let kinds = [
        (Reason::ObsFold, Some(Kind::BadRequest)),
        (Reason::HostNotServed, Some(Kind::BadRequest)),
        (Reason::TlsUnknownSni, Some(Kind::TlsDeny)),
        (Reason::TlsError, Some(Kind::BadRequest)),
        (Reason::BodyTooLarge, Some(Kind::BadRequest)),
        (Reason::ClientClosed, None),
        (Reason::RequestHeaderTimeout, None),
        (Reason::NoRoute, None),
        (Reason::UpstreamClosed, None),
        (Reason::RateLimited, Some(Kind::RateLimited)),
        (Reason::Banned, Some(Kind::Banned)),
        (Reason::ClientConcurrency, Some(Kind::ConnectionLimit)),
        (Reason::Ok, None),
    ];
    for (reason, kind) in kinds {
        assert_eq!(Kind::of(reason), kind, "{reason:?}");
    }
    let mut tokens: Vec<_> = Kind::ALL.iter().map(|kind| kind.token()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), Kind::ALL.len());
}
