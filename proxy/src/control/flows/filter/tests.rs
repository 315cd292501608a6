//! Each key alone, repeated and negated.

use super::*;

fn subject(source: &str, destination: &str, hostname: Option<&str>) -> Subject {
    let address = |text: &str| text.parse().expect("an address");
    let (source, destination) = (address(source), address(destination));
    Subject { cookie: 1, source, destination, hostname: hostname.map(Into::into) }
}

fn filter(pairs: &[(&str, &str)]) -> Result<Filter, BadValue> {
    Filter::parse(|key| pairs.iter().filter(|(k, _)| *k == key).map(|(_, v)| (*v).to_owned()).collect())
}

/// Which of the three flows a query lets through.
fn kept(pairs: &[(&str, &str)]) -> Vec<usize> {
    let flows = [
        subject("192.0.2.1:40000", "198.51.100.1:443", Some("www.example.com")),
        subject("192.0.2.77:50000", "198.51.100.2:80", Some("API.example.com")),
        subject("[2001:db8::1]:60000", "[2001:db8::2]:8080", None),
    ];
    let filter = filter(pairs).unwrap_or_else(|bad| panic!("{bad:?}"));
    (0..flows.len()).filter(|&at| filter.matches(&flows[at])).collect()
}

#[test]
fn each_key_narrows_and_its_negation_keeps_the_rest() {
    for (key, value, expected) in [
        ("src_cidr", "192.0.2.0/26", vec![0]),
        ("src_cidr", "192.0.2.77", vec![1]),
        ("src_cidr", "2001:db8::/32", vec![2]),
        ("dst_cidr", "198.51.100.2", vec![1]),
        ("dst_cidr", "::/0", vec![2]),
        ("hostname", "^api\\.", vec![1]),
        ("hostname", "EXAMPLE", vec![0, 1]),
        ("proto", "tcp", vec![0, 1, 2]),
        ("proto", "6", vec![0, 1, 2]),
        ("proto", "udp", vec![]),
        ("src_port", "40000", vec![0]),
        ("src_port", "45000-65535", vec![1, 2]),
        ("dst_port", "443", vec![0]),
        ("dst_port", "80-443", vec![0, 1]),
    ] {
        assert_eq!(kept(&[(key, value)]), expected, "{key}={value}");
        let rest: Vec<usize> = (0..3).filter(|at| !expected.contains(at)).collect();
        assert_eq!(kept(&[(&format!("not_{key}"), value)]), rest, "not_{key}={value}");
    }
}

#[test]
fn values_of_a_key_are_alternatives_and_keys_narrow_each_other() {
    assert_eq!(kept(&[]), [0, 1, 2]);
    assert_eq!(kept(&[("dst_port", "443"), ("dst_port", "8080")]), [0, 2]);
    assert_eq!(kept(&[("not_dst_port", "443"), ("not_dst_port", "8080")]), [1]);
    assert_eq!(kept(&[("src_cidr", "192.0.2.0/24"), ("dst_port", "80")]), [1]);
    assert_eq!(kept(&[("src_cidr", "192.0.2.0/24"), ("not_hostname", "www")]), [1]);
    assert_eq!(kept(&[("src_cidr", "192.0.2.1"), ("not_src_cidr", "192.0.2.0/24")]), [0; 0]);
}

#[test]
fn a_bad_value_is_refused_by_its_key() {
    for (key, value) in [
        ("src_cidr", "10.0.0.0/33"),
        ("not_dst_cidr", "ten"),
        ("hostname", "("),
        ("not_hostname", "(a{1000}){1000}"),
        ("proto", "256"),
        ("not_proto", "sctp?"),
        ("src_port", "9-8"),
        ("dst_port", "65536"),
        ("not_src_port", ""),
    ] {
        assert_eq!(filter(&[(key, value)]).map(drop).map_err(|bad| bad.key), Err(key), "{key}={value}");
    }
    let many: Vec<(&str, &str)> = (0..=VALUES_MAX).map(|_| ("dst_port", "1")).collect();
    assert!(filter(&many[1..]).is_ok());
    assert_eq!(filter(&many).map(drop).map_err(|bad| bad.key), Err("dst_port"));
}

#[test]
fn a_sample_holds_its_share_of_flows_and_the_same_ones_each_time() {
    let of = |cookie, share| Subject { cookie, ..subject("192.0.2.1:1", "192.0.2.2:2", None) }.is_sampled(share);
    assert!((1..1_000).all(|cookie| of(cookie, 1.0)));
    let held = (1..10_000).filter(|&cookie| of(cookie, 0.1)).count();
    assert!((900..1_100).contains(&held), "{held} of 10000");
    assert!((1..1_000).filter(|&cookie| of(cookie, 0.1)).all(|cookie| of(cookie, 0.2)), "a larger share holds it too");
}
