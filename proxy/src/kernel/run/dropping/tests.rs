//! What is said and counted where nothing is loaded, and which bans find room.

use super::*;
use crate::config::{Table as _, raw};
use crate::kernel::Banned;
use crate::kernel::network::Interface;
use crate::kernel::status::State;

fn wanted(kernel: &str) -> Arc<Wanted> {
    Arc::new(Wanted {
        kernel: raw::Kernel::from_toml(kernel).unwrap_or_else(|problems| panic!("{problems}")),
        bound: vec!["127.0.0.1:80".parse().expect("an address"), "192.0.2.1:80".parse().expect("an address")],
        allow: Vec::new(),
        bans: Arc::default(),
        rules: BTreeSet::new(),
    })
}

fn loopback() -> Arc<Network> {
    let lo = Interface {
        index: 1,
        name: "lo".to_owned(),
        loopback: true,
        addresses: vec!["127.0.0.1".parse().expect("an address")],
        ..Interface::default()
    };
    Arc::new(Network { interfaces: vec![lo], gateways: Vec::new() })
}

fn dropping(obstacle: Option<Obstacle>, kernel: &str) -> Dropping {
    let mut dropping = Dropping::new(obstacle, Samples::channel().0);
    dropping.follow(wanted(kernel), loopback(), Instant::from_nanos(1));
    dropping
}

#[test]
fn without_a_public_interface_nothing_is_loaded_and_that_is_no_fault() {
    let (status, warnings) = dropping(None, "").status();
    let drop = status.group("drop").expect("a group");
    assert_eq!((drop.state, drop.mode), (State::Off, None));
    assert_eq!(drop.why.as_deref(), Some("no interface has an address of a public listener"));
    assert_eq!((status.mode, warnings), ("dry_run", vec![]));
}

#[test]
fn it_is_said_whether_the_document_or_the_machine_keeps_it_off() {
    let why = |obstacle, kernel| {
        let (status, _) = dropping(obstacle, kernel).status();
        status.group("drop").map(|drop| (drop.state, drop.why.clone().unwrap_or_default()))
    };
    assert_eq!(why(None, "mode = \"off\""), Some((State::Off, "kernel.mode is off".to_owned())));
    assert_eq!(why(None, "interfaces = []"), Some((State::Off, "kernel.interfaces names none".to_owned())));
    assert_eq!(why(None, "interfaces = [\"eth9\"]"), Some((State::Off, "there is no interface eth9".to_owned())));
    let missing = Some(Obstacle::Missing(vec!["CAP_BPF"]));
    assert_eq!(why(missing, ""), Some((State::Failed, "missing: CAP_BPF".to_owned())));
}

#[test]
fn promotion_without_the_program_is_refused_and_counted() {
    let mut dropping = dropping(None, "mode = \"enforce\"");
    dropping.promote(
        Promotion {
            address: "192.0.2.9/32".parse().expect("a network"),
            table: "rate_limit",
            rule: "login".into(),
            ttl: Duration::from_secs(60),
            ttl_max: Duration::from_secs(60),
        },
        Instant::from_nanos(1),
    );
    let (status, _) = dropping.status();
    let off = status.promotions.refused.iter().find(|row| row.why == "off").map(|row| row.count);
    assert_eq!((status.promotions.made, off), (0, Some(1)));
    assert!(dropping.take_cuts().is_none());
}

#[test]
fn bans_find_room_by_ip_version_and_the_rest_is_told() {
    let bans_of = |kernel: &str, room| {
        let mut wanted = Wanted::clone(&wanted(kernel));
        let nets = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32", "::ffff:10.0.0.0/104"];
        let networks = nets.map(|net| (net.parse().expect("a network"), Arc::from("list"))).to_vec();
        wanted.bans = Arc::new(Banned { networks, left_out: [0, 7] });
        bans(&wanted, room, &Rules::default())
    };
    let refused = |rows: &[(&'static str, u64)]| {
        let mut refused = Refusals::default();
        rows.iter().for_each(|(map, count)| refused.add(map, *count));
        refused
    };
    let (all, none) = bans_of("", 2);
    assert_eq!((all.len(), none), (3, refused(&[(map::DENY6, 7)])), "the mapped one is the first one again");
    let (some, other) = bans_of("", 1);
    assert_eq!(some.len(), 2, "one of each version");
    assert_eq!(other, refused(&[(map::DENY4, 1), (map::DENY6, 7)]), "the mapped one is in already");
    assert_eq!(bans_of("bans = false", 1), (BTreeMap::new(), Refusals::default()));
}

#[test]
fn failure_of_what_is_no_longer_asked_for_is_forgotten() {
    let mut dropping = dropping(None, "");
    dropping.failure = Some(Failure::new("KERNEL_REFUSED", "no memory"));
    assert!(dropping.falls_short());
    dropping.follow(wanted(""), loopback(), Instant::from_nanos(2));
    assert!(!dropping.falls_short() && dropping.status().1.is_empty());
}
