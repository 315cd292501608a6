//! Bans against a plain list.

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn ban(rule: &str, expires: Option<u64>) -> Ban {
    Ban { rule: rule.into(), reason: "".into(), expires: expires.map(at), origin: Origin::Document }
}

fn table(bans: &[(&str, Option<u64>)]) -> Table {
    let cidrs = bans.iter().enumerate().map(|(at, (cidr, _))| (cidr.parse().expect("a CIDR"), at as u32));
    Table::build(bans.iter().map(|(cidr, expires)| ban(cidr, *expires)).collect(), cidrs)
}

fn found(table: &Table, ip: &str, now: u64) -> Option<String> {
    table.lookup(ip.parse().expect("an address"), at(now)).map(|hit| hit.cidr.to_string())
}

#[test]
fn the_narrowest_ban_that_holds_is_found() {
    let table = table(&[("10.0.0.0/8", None), ("10.1.0.0/16", None), ("10.1.2.3/32", None), ("2001:db8::/32", None)]);
    let expected = [
        ("10.1.2.3", Some("10.1.2.3/32")),
        ("10.1.2.4", Some("10.1.0.0/16")),
        ("10.2.0.0", Some("10.0.0.0/8")),
        ("10.255.255.255", Some("10.0.0.0/8")),
        ("11.0.0.0", None),
        ("9.255.255.255", None),
        ("2001:db8:ffff::1", Some("2001:db8::/32")),
        ("2001:db9::", None),
    ];
    for (ip, cidr) in expected {
        assert_eq!(found(&table, ip, 0).as_deref(), cidr, "{ip}");
    }
}

#[test]
fn an_expired_ban_uncovers_the_one_around_it() {
    let table = table(&[("10.0.0.0/8", Some(20)), ("10.1.0.0/16", Some(10)), ("10.1.2.3/32", Some(30))]);
    let cidr = |ip, now| found(&table, ip, now);
    assert_eq!(cidr("10.1.1.1", 9).as_deref(), Some("10.1.0.0/16"));
    assert_eq!(cidr("10.1.1.1", 10).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(cidr("10.1.1.1", 20), None);
    assert_eq!(cidr("10.1.2.3", 29).as_deref(), Some("10.1.2.3/32"));
    assert_eq!(cidr("10.1.2.3", 30), None);
}

#[test]
fn of_equal_bans_the_one_that_lasts_longest_stays() {
    for order in [[Some(10), None, Some(20)], [None, Some(10), Some(20)], [Some(20), Some(10), None]] {
        let table = table(&order.map(|expires| ("192.0.2.0/24", expires)));
        assert_eq!((table.len(), found(&table, "192.0.2.1", 1_000).is_some()), (1, true), "{order:?}");
    }
}

#[test]
fn mapped_addresses_and_host_bits_are_read_as_what_they_are() {
    let table = table(&[("::ffff:192.0.2.0/120", None), ("198.51.100.7/24", None), ("::/95", None)]);
    assert_eq!(found(&table, "192.0.2.200", 0).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(found(&table, "::ffff:192.0.2.200", 0).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(found(&table, "198.51.100.200", 0).as_deref(), Some("198.51.100.0/24"));
    assert_eq!(found(&table, "::1", 0).as_deref(), Some("::/95"));
}

#[test]
fn the_whole_and_the_ends_of_the_address_space_may_be_banned() {
    let all = table(&[("0.0.0.0/0", Some(1)), ("::/0", None), ("255.255.255.255/32", None), ("0.0.0.0/32", None)]);
    assert_eq!(found(&all, "8.8.8.8", 0).as_deref(), Some("0.0.0.0/0"));
    assert_eq!(found(&all, "255.255.255.255", 1).as_deref(), Some("255.255.255.255/32"));
    assert_eq!(found(&all, "0.0.0.0", 1).as_deref(), Some("0.0.0.0/32"));
    assert_eq!(found(&all, "255.255.255.254", 1), None);
    let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    assert_eq!(found(&all, last, 1).as_deref(), Some("::/0"));
    assert!(found(&Table::default(), "::1", 0).is_none() && Table::default().is_empty());
}

#[test]
fn the_document_comes_before_the_api() {
    let bans = Bans::new(Arc::new(table(&[("192.0.2.0/24", Some(10))])), Arc::new(table(&[("192.0.2.1/32", None)])));
    let cidr = |now| bans.lookup("192.0.2.1".parse().expect("an address"), at(now)).map(|hit| hit.cidr.to_string());
    assert_eq!((cidr(0).as_deref(), cidr(10).as_deref()), (Some("192.0.2.0/24"), Some("192.0.2.1/32")));
    assert_eq!(bans.iter().count(), 2);
    assert!(bans.same(&bans.clone()) && !bans.same(&Bans::default()));
}

/// What a table must say, by looking at every ban.
fn oracle(bans: &[(IpNet, Option<u64>)], ip: IpAddr, now: u64) -> Option<IpNet> {
    let holds = |(cidr, expires): &&(IpNet, Option<u64>)| cidr.contains(&ip) && expires.is_none_or(|end| now < end);
    bans.iter().filter(holds).map(|(cidr, _)| *cidr).max_by_key(IpNet::prefix_len)
}

/// Addresses of few values, so that CIDRs nest and meet.
fn address(random: &mut fastrand::Rng, v4: bool, spread: u32) -> IpAddr {
    let near = random.u32(..) & random.u32(..) & spread;
    match v4 {
        true => Ipv4Addr::from_bits(0x0a00_0000 ^ near.rotate_left(random.u32(0..3) * 8)).into(),
        false => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(near) << (random.u32(0..7) * 16)).into(),
    }
}

fn agrees_with_a_plain_list(seed: u64, count: usize, lookups: usize, spread: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bans = Vec::new();
    for _ in 0..count {
        let v4 = random.bool();
        let length = if v4 { random.u8(4..=32) } else { random.u8(16..=128) };
        let cidr = IpNet::new(address(&mut random, v4, spread), length).expect("a length").trunc();
        bans.push((cidr, random.bool().then(|| random.u64(0..100))));
    }
    let shared: Vec<Ban> = bans.iter().map(|(cidr, expires)| ban(&cidr.to_string(), *expires)).collect();
    let table = Table::build(shared, bans.iter().zip(0..).map(|((cidr, _), at)| (*cidr, at)));
    for _ in 0..lookups {
        let v4 = random.bool();
        let (ip, now) = (address(&mut random, v4, spread), random.u64(0..110));
        let hit = table.lookup(ip, at(now));
        assert_eq!(hit.map(|hit| hit.cidr), oracle(&bans, ip, now), "seed {seed}: {ip} at {now}");
        assert!(hit.is_none_or(|hit| *hit.ban.rule == *hit.cidr.to_string()));
    }
    assert!(table.iter().collect::<Vec<_>>().is_sorted_by_key(|hit| (hit.cidr.addr(), hit.cidr.prefix_len())));
}

#[test]
fn small_tables_agree_with_a_plain_list() {
    (0..200).for_each(|seed| agrees_with_a_plain_list(seed, 40, 200, 0xff00_00ff));
}

#[test]
fn large_tables_agree_with_a_plain_list() {
    (0..3).for_each(|seed| agrees_with_a_plain_list(seed, 50 * STRIDE, 300, u32::MAX));
}
