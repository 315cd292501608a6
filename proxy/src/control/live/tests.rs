//! What news does to the table of endpoints.

use std::time::Duration;

use super::*;
use crate::control::testing::{document, forwarding, snapshot};
use crate::target::Observed;
use crate::target::live::State;

const START: Instant = Instant::from_nanos(1_000_000_000_000);
const HEALTH: &str = "[route.health]\ninterval = \"1s\"\ntimeout = \"500ms\"\nunhealthy = 2\nhealthy = 1";

fn owner_of(document: crate::config::Document) -> Owner {
    let mut owner = Owner::new(1, START);
    owner.adopt(&snapshot(document, 1).groups, true, START);
    owner
}

fn resolved(owner: &mut Owner, name: &str, ips: &[&str]) -> Option<Arc<Live>> {
    let addresses = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
    owner.resolved(DnsUpdate { hostname: name.into(), addresses });
    owner.publish(START)
}

fn addresses(live: &Live) -> Vec<String> {
    live.endpoints().filter_map(|(_, endpoint)| endpoint.address).map(|address| address.to_string()).collect()
}

fn probed(owner: &mut Owner, passed: bool) -> Option<State> {
    let id = owner.live().endpoints().next().expect("an endpoint").1.cells.id();
    owner.probed(&ProbeResult { endpoint: id, passed, cause: "test".into() }, START);
    let live = owner.publish(START)?;
    Some(live.endpoints().next()?.1.state)
}

fn reported(owner: &mut Owner, endpoint: EndpointId, now: Instant) {
    owner.reported(Report { endpoint, observed: Observed::ConnectFailed }, now);
}

#[test]
fn a_name_reaches_every_target_that_uses_it_and_the_same_again_changes_nothing() {
    let mut owner = owner_of(forwarding("http://app.test:8080", ""));
    let live = resolved(&mut owner, "app.test", &["192.0.2.1", "192.0.2.2"]).expect("a new table");
    assert_eq!(addresses(&live), ["192.0.2.1:8080", "192.0.2.2:8080"]);
    assert!(owner.publish(START).is_none());
    assert!(resolved(&mut owner, "other.test", &["192.0.2.9"]).is_none());
}

#[test]
fn a_reload_keeps_what_names_resolved_to_even_for_a_new_target() {
    let mut owner = owner_of(forwarding("http://app.test", ""));
    resolved(&mut owner, "app.test", &["192.0.2.1"]);
    let before = owner.live().endpoints().next().expect("an endpoint").1.cells.id();
    let two = document(
        "[[route]]\nid = 10\nlistener = \"web\"\npath_prefix = \"/\"\n[[route.target]]\nname = \"a\"\n\
         url = \"http://app.test\"\n[[route.target]]\nname = \"new\"\nurl = \"http://app.test:81\"\n",
    );
    let live = owner.adopt(&snapshot(two, 2).groups, false, START);
    assert_eq!(addresses(&live), ["192.0.2.1:80", "192.0.2.1:81"]);
    assert_eq!(live.endpoints().next().expect("an endpoint").1.cells.id(), before);
    assert!(owner.publish(START).is_none(), "the first table of a generation is given by adopt alone");
}

#[test]
fn probes_in_a_row_flip_the_state_and_each_flip_is_kept() {
    let mut owner = owner_of(forwarding("http://192.0.2.1", HEALTH));
    assert_eq!(probed(&mut owner, false), None);
    assert_eq!(probed(&mut owner, false), Some(State::Unhealthy));
    assert_eq!(probed(&mut owner, false), None);
    assert_eq!(probed(&mut owner, true), Some(State::Healthy));
    let flips = owner.flips();
    let flips = lock(&flips);
    let kept: Vec<_> = flips.values().flat_map(Flips::iter).map(|flip| (flip.from, flip.to)).collect();
    assert_eq!(kept, [(State::Unknown, State::Unhealthy), (State::Unhealthy, State::Healthy)]);
}

#[test]
fn a_streak_survives_a_reload_and_ends_with_the_target() {
    let mut owner = owner_of(forwarding("http://192.0.2.1", HEALTH));
    assert_eq!(probed(&mut owner, false), None);
    owner.adopt(&snapshot(forwarding("http://192.0.2.1", HEALTH), 2).groups, false, START);
    assert_eq!(probed(&mut owner, false), Some(State::Unhealthy));
    owner.adopt(&snapshot(forwarding("http://192.0.2.7", HEALTH), 3).groups, false, START);
    assert!(owner.streaks.is_empty());
}

#[test]
fn reports_eject_once_and_time_restores() {
    let more = format!("{HEALTH}\n[route.outlier]\nconnect = 1\nbase = \"10s\"\nmax_percent = 50");
    let mut owner = owner_of(forwarding("http://app.test", &more));
    let live = resolved(&mut owner, "app.test", &["192.0.2.1", "192.0.2.2"]).expect("a new table");
    let id = live.endpoints().next().expect("an endpoint").1.cells.id();
    // A burst of reports about one failure is one ejection.
    (0..10).for_each(|_| reported(&mut owner, id, START));
    let live = owner.publish(START).expect("a new table");
    let until = live.endpoints().next().expect("an endpoint").1.ejected_until;
    assert_eq!((owner.ejections(), until), ((1, 0), Some(START + Duration::from_secs(10))));
    let other = live.endpoints().nth(1).expect("an endpoint").1.cells.id();
    reported(&mut owner, other, START);
    assert_eq!(owner.ejections(), (1, 1));
    assert!(owner.has_ejected());
    owner.tick(START + Duration::from_secs(9));
    assert!(owner.publish(START).is_none());
    owner.tick(START + Duration::from_secs(10));
    assert!(owner.publish(START + Duration::from_secs(10)).is_some() && !owner.has_ejected());
}

#[test]
fn a_passed_probe_ends_an_ejection() {
    let more = format!("{HEALTH}\n[route.outlier]\nconnect = 1\nmax_percent = 100");
    let mut owner = owner_of(forwarding("http://192.0.2.1", &more));
    let id = owner.live().endpoints().next().expect("an endpoint").1.cells.id();
    reported(&mut owner, id, START);
    assert!(owner.publish(START).is_some() && owner.has_ejected());
    probed(&mut owner, true);
    assert!(!owner.has_ejected());
}
