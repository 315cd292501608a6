//! The policies as a route meets them: eligibility, order, limits, stickiness, warming, hashing.

use super::{Ask, Balancers, Field, Pick, Picked};
use crate::target::cells::EndpointId;
use crate::target::live::{Live, State};
use crate::target::outlier::Observed;
use crate::target::sticky::Stick;
use crate::target::testing::{FIRST, Request, SECOND, START, ask, groups, id, live, route, weighted};

/// Candidates with fixed weights.
pub(super) struct Fixed {
    pub(super) weights: Vec<u64>,
    pub(super) active: Vec<u64>,
    pub(super) warmth: Vec<u32>,
}

impl Fixed {
    pub(super) fn weights(weights: &[u64]) -> Self {
        let warmth = weights.iter().map(|&weight| if weight > 0 { 1000 } else { 0 }).collect();
        Self { weights: weights.to_vec(), active: vec![0; weights.len()], warmth }
    }
}

impl Field for Fixed {
    fn len(&self) -> usize {
        self.weights.len()
    }

    fn weight(&self, at: usize) -> u64 {
        self.weights[at]
    }

    fn active(&self, at: usize) -> u64 {
        self.active[at]
    }

    fn warmth(&self, at: usize) -> u32 {
        self.warmth[at]
    }
}

/// How often each of `n` is picked.
pub(super) fn counts(n: usize, picks: usize, mut pick: impl FnMut() -> Option<usize>) -> Vec<usize> {
    let mut seen = vec![0; n];
    (0..picks).filter_map(|_| pick()).for_each(|at| seen[at] += 1);
    seen
}

fn balancers() -> Balancers {
    Balancers::new(0, 1, |_| {})
}

/// The target's letter of each of `n` picks, each over before the next.
fn turns(balancers: &mut Balancers, live: &Live, n: usize) -> String {
    let request = Request::default();
    (0..n).map(|_| letter(balancers.of(route(live)).pick(route(live), &ask(&request, START)))).collect()
}

fn letter(pick: Pick) -> char {
    match pick {
        Pick::Endpoint(picked) => char::from(b'a' + picked.target as u8),
        Pick::Full => '#',
        Pick::Unusable => '-',
    }
}

#[test]
fn eight_requests_give_a_six_and_b_two() {
    let live = live(&weighted("balance = \"weighted_round_robin\"", &[3, 1]));
    assert_eq!(turns(&mut balancers(), &live, 8), "aabaaaba");
}

#[test]
fn a_disabled_target_gets_nothing() {
    let groups = groups(
        "balance = \"weighted_round_robin\"\n[[route.target]]\nurl = \"http://127.0.0.1\"\nweight = 3\n\
         [[route.target]]\nurl = \"http://127.0.0.2\"\nenabled = false",
    );
    assert_eq!(turns(&mut balancers(), &live(&groups), 8), "aaaaaaaa");
}

#[test]
fn position_orders_the_turns() {
    let groups = groups(
        "[[route.target]]\nname = \"x\"\nurl = \"http://127.0.0.1\"\nposition = 2\n\
         [[route.target]]\nname = \"y\"\nurl = \"http://127.0.0.2\"\nposition = 1\n\
         [[route.target]]\nname = \"z\"\nurl = \"http://127.0.0.3\"\nposition = 2",
    );
    let names: Vec<_> = groups.targets.iter().map(|target| &*target.name).collect();
    assert_eq!(names, ["y", "x", "z"]);
}

#[test]
fn workers_begin_at_their_own_offset() {
    let live = live(&weighted("", &[1, 1, 1]));
    let mut second = Balancers::new(1, 1, |_| {});
    assert_eq!(turns(&mut second, &live, 4), "bcab");
}

#[test]
fn the_endpoints_of_a_target_go_in_turn() {
    let groups = groups("[[route.target]]\nurl = \"http://one.test\"\n[[route.target]]\nurl = \"http://127.0.0.9\"");
    let live = live(&groups).with_addresses(0, 0, &["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()], START);
    let (mut balancers, request) = (balancers(), Request::default());
    let mut next = || match balancers.of(route(&live)).pick(route(&live), &ask(&request, START)) {
        Pick::Endpoint(picked) => picked.address.unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    let seen: Vec<_> = (0..6).map(|_| next()).collect();
    let [one, two, lone] = ["10.0.0.1:80", "10.0.0.2:80", "127.0.0.9:80"];
    assert_eq!(seen, [one, lone, two, lone, one, lone]);
}

#[test]
fn ill_and_ejected_endpoints_are_left_out_until_they_are_back() {
    let table = live(&weighted("", &[1, 1]));
    let (mut balancers, a) = (balancers(), id(&table, 0, 0));
    let ill = table.with_health(a, State::Unhealthy, START);
    assert_eq!(turns(&mut balancers, &ill, 3), "bbb");
    let back = ill.with_health(a, State::Healthy, START);
    assert_eq!(turns(&mut balancers, &back, 4), "abab");
    let out = back.with_ejection(a, START + SECOND, START);
    assert_eq!(turns(&mut balancers, &out, 2), "bb");
    let request = Request::default();
    let late = ask(&request, START + SECOND);
    assert_eq!(letter(balancers.of(route(&out)).pick(route(&out), &late)), 'a');
    let none = out.with_health(id(&out, 1, 0), State::Unhealthy, START);
    assert_eq!(turns(&mut balancers, &none, 1), "-");
}

#[test]
fn a_retry_prefers_what_was_not_tried() {
    let table = live(&weighted("", &[1, 1]));
    let (mut balancers, request, tried) = (balancers(), Request::default(), [id(&table, 0, 0)]);
    for _ in 0..4 {
        let ask = Ask { exclude: &tried, ..ask(&request, START) };
        let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask) else { panic!() };
        assert_eq!((picked.target, picked.again), (1, false));
    }
    let both = [tried[0], id(&table, 1, 0)];
    let ask = Ask { exclude: &both, ..ask(&request, START) };
    let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask) else { panic!() };
    assert!(picked.again);
}

#[test]
fn an_endpoint_at_its_limit_is_passed_over_and_all_at_limit_is_full() {
    let table = live(&weighted("[route.limits]\ninflight_max = 2", &[1, 1]));
    let (mut balancers, request) = (balancers(), Request::default());
    let mut held = Vec::new();
    let mut taken = String::new();
    for _ in 0..5 {
        match balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) {
            Pick::Endpoint(picked) => {
                taken.push(char::from(b'a' + picked.target as u8));
                held.push(picked);
            }
            other => taken.push(letter(other)),
        }
    }
    assert_eq!(taken, "abab#");
    held.remove(1);
    assert_eq!(turns(&mut balancers, &table, 2), "bb");
    drop(held);
    assert_eq!(route(&table).targets()[0].endpoints[0].cells.inflight(), 0);
}

#[test]
fn limits_hold_over_all_workers() {
    let table = Live::initial(&[weighted("[route.limits]\ninflight_max = 1", &[1])], 2, None, START);
    let (mut one, mut two, request) = (balancers(), Balancers::new(1, 2, |_| {}), Request::default());
    let held = one.of(route(&table)).pick(route(&table), &ask(&request, START));
    assert_eq!(turns(&mut two, &table, 1), "#");
    drop(held);
    assert_eq!(turns(&mut two, &table, 1), "a");
}

#[test]
fn connections_at_their_limit_leave_only_idle_ones() {
    let table = live(&weighted("[route.limits]\nconnections_max = 1", &[1]));
    let (mut balancers, request) = (balancers(), Request::default());
    let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
        panic!()
    };
    let connection = picked.inflight.connection(1).expect("the first");
    assert!(picked.inflight.connection(1).is_none());
    drop(picked);
    assert_eq!(turns(&mut balancers, &table, 1), "#");
    let idle = Ask { idle: &|_| true, ..ask(&request, START) };
    assert_eq!(letter(balancers.of(route(&table)).pick(route(&table), &idle)), 'a');
    assert!(!connection.is_wanted(1), "nobody waits");
    let ticket = balancers.of(route(&table)).enter(route(&table), FIRST).unwrap();
    assert!(connection.is_wanted(1));
    drop((connection, ticket));
    assert_eq!(turns(&mut balancers, &table, 1), "a");
}

#[test]
fn least_active_follows_the_requests_in_flight() {
    let table = live(&weighted("balance = \"least_active_requests\"", &[1, 1, 1]));
    let (mut balancers, request) = (balancers(), Request::default());
    let mut rng = fastrand::Rng::with_seed(30);
    let mut held: Vec<Picked> = Vec::new();
    for _ in 0..2_000 {
        if !held.is_empty() && rng.bool() {
            held.swap_remove(rng.usize(..held.len()));
            continue;
        }
        let mut load = [0; 3];
        held.iter().for_each(|picked| load[usize::from(picked.target)] += 1);
        let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
            panic!()
        };
        assert_eq!(Some(&load[usize::from(picked.target)]), load.iter().min());
        held.push(picked);
    }
}

#[test]
fn p2c_leaves_the_endpoint_that_refuses() {
    let table = live(&weighted("balance = \"p2c_ewma\"", &[1, 1]));
    let (mut balancers, request) = (balancers(), Request::default());
    let mut taken = [0, 0];
    for _ in 0..200 {
        let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
            panic!()
        };
        taken[usize::from(picked.target)] += 1;
        match picked.target {
            0 => picked.inflight.connect_failed(START),
            _ => picked.inflight.answered(200, SECOND / 100, START),
        };
    }
    assert!(taken[0] <= 1, "{taken:?}");
}

#[test]
fn a_hash_keeps_a_key_in_place_and_an_empty_one_goes_round() {
    for balance in ["hash_ketama", "hash_maglev"] {
        let table = live(&weighted(&format!("balance = \"{balance}\"\nhash_key = \"header:x-user\""), &[1, 1, 2]));
        let mut balancers = balancers();
        let mut of = |user: &str, table: &Live| {
            let request = Request { headers: [("x-user", user.to_owned())].into(), ..Request::default() };
            letter(balancers.of(route(table)).pick(route(table), &ask(&request, START)))
        };
        let users: Vec<String> = (0..400).map(|n| n.to_string()).collect();
        let before: String = users.iter().map(|user| of(user, &table)).collect();
        assert_eq!(before, users.iter().map(|user| of(user, &table)).collect::<String>());
        assert!("abc".chars().all(|target| before.contains(target)));
        let ill = table.with_health(id(&table, 1, 0), State::Unhealthy, START);
        for (user, was) in users.iter().zip(before.chars()) {
            let now = of(user, &ill);
            assert!(now != 'b' && (was == 'b' || was == now), "{balance}");
        }
        let empty: String = (0..3).map(|_| of("", &table)).collect();
        assert_eq!(empty, "abc");
    }
}

#[test]
fn a_recovered_endpoint_warms_up() {
    let table = live(&weighted("slow_start = \"10s\"\nbalance = \"weighted_round_robin\"", &[1, 1]));
    assert_eq!(turns(&mut balancers(), &table, 4), "abab", "nothing warms at the start");
    let a = id(&table, 0, 0);
    let back = table.with_health(a, State::Unhealthy, START).with_health(a, State::Healthy, START);
    let request = Request::default();
    let share = |seconds: u32| {
        let mut balancers = balancers();
        let now = START + SECOND * seconds;
        (0..1_100).filter(|_| letter(balancers.of(route(&back)).pick(route(&back), &ask(&request, now))) == 'a').count()
    };
    // Weights 0.1, 0.55 and 1 beside 1.
    assert_eq!((share(0), share(5), share(10)), (100, 390, 550));
}

#[test]
fn a_sticky_client_stays_while_its_endpoint_is_usable() {
    let table = live(&weighted("[route.sticky]", &[1, 1, 1]));
    let (mut balancers, mut request) = (balancers(), Request::default());
    let sticky = table.routes()[0].groups().sticky.as_ref().unwrap();
    assert_eq!(&*sticky.path, "/api");
    let mut value = Vec::new();
    sticky.value(route(&table).targets()[1].endpoints[0].sticky_hash, "", 1_000, &mut value);
    request.cookies = [("weir_s".to_owned(), vec![b"forged".to_vec(), value])].into();
    let mut pick = |table: &Live, exclude: &[EndpointId]| {
        let ask = Ask { exclude, ..ask(&request, START) };
        match balancers.of(route(table)).pick(route(table), &ask) {
            Pick::Endpoint(picked) => (picked.target, picked.stick),
            other => panic!("{other:?}"),
        }
    };
    for _ in 0..3 {
        assert_eq!(pick(&table, &[]), (1, Stick::Honoured));
    }
    let (target, stick) = pick(&table, &[id(&table, 1, 0)]);
    assert!(target != 1 && stick == Stick::Away, "busy or failed: the cookie stays");
    let ill = table.with_health(id(&table, 1, 0), State::Unhealthy, START);
    let (target, stick) = pick(&ill, &[]);
    assert!(target != 1 && stick == Stick::Set);
    request.cookies.clear();
    let Pick::Endpoint(first) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
        panic!()
    };
    assert_eq!(first.stick, Stick::Set);
}

#[test]
fn averages_turns_and_lines_survive_tables_and_generations() {
    let model = || weighted("balance = \"p2c_ewma\"\n[route.outlier]\nenabled = true", &[1, 1]);
    let table = live(&model());
    let (mut balancers, request) = (balancers(), Request::default());
    let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
        panic!()
    };
    let (target, cells) = (usize::from(picked.target), picked.inflight.endpoint());
    let report = picked.inflight.connect_failed(START).expect("outliers are watched");
    assert_eq!((report.endpoint, report.observed), (cells, Observed::ConnectFailed));
    let ticket = balancers.of(route(&table)).enter(route(&table), FIRST).unwrap();
    let next = Live::initial(&[model()], 1, Some(&table), START);
    balancers.follow(next.routes());
    let balancer = balancers.of(route(&next));
    assert_eq!(balancer.ewma(target, 0, START), Some(SECOND * 5));
    assert!(balancer.has_line(route(&next), FIRST), "the one who waits is still in line");
    assert_eq!(id(&next, target, 0), cells);
    assert_eq!(route(&next).targets()[target].endpoints[0].cells.inflight(), 1);
    drop((picked, ticket));
    assert_eq!(route(&next).targets()[target].endpoints[0].cells.inflight(), 0);
}

#[test]
fn a_success_is_reported_once_after_a_failure_only() {
    let table = live(&weighted("[route.outlier]\nenabled = true", &[1]));
    let (mut balancers, request) = (balancers(), Request::default());
    let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
        panic!()
    };
    let slot = picked.inflight;
    assert_eq!(slot.answered(200, SECOND, START), None);
    assert!(slot.answered(503, SECOND, START).is_some());
    assert_eq!(slot.answered(404, SECOND, START).map(|report| report.observed), Some(Observed::Answered));
    assert_eq!(slot.answered(200, SECOND, START), None);
}

#[test]
fn static_targets_take_part_and_have_no_limits() {
    let groups = groups(
        "[route.limits]\ninflight_max = 1\n[[route.target]]\nurl = \"http://127.0.0.1\"\n\
         [[route.target]]\n[route.target.static]\nbody = \"hello\"",
    );
    let table = live(&groups);
    assert!(groups.bypasses_cache(0));
    let (mut balancers, request) = (balancers(), Request::default());
    let mut held = Vec::new();
    for _ in 0..4 {
        let Pick::Endpoint(picked) = balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) else {
            panic!()
        };
        held.push(picked);
    }
    let fixed = held.iter().filter(|picked| picked.address.is_none()).count();
    assert_eq!(fixed, 3, "the origin took its one, the static target the rest");
}

#[test]
fn every_policy_picks_only_what_is_eligible_and_always_if_there_is_one() {
    let mut rng = fastrand::Rng::with_seed(31);
    let policies = [
        "round_robin",
        "random",
        "least_active_requests",
        "weighted_round_robin",
        "weighted_random",
        "weighted_least_active_requests",
        "p2c_ewma",
        "hash_ketama",
        "hash_maglev",
    ];
    for policy in policies {
        let keys = format!("balance = \"{policy}\"\nhash_key = \"uri\"\n[route.limits]\ninflight_max = 3");
        let mut table = live(&weighted(&keys, &[1, 2, 3, 4]));
        let (mut balancers, mut held) = (balancers(), Vec::<Picked>::new());
        for step in 0..500 {
            let target = rng.usize(..4);
            match rng.u32(..4) {
                0 => {
                    let state = [State::Healthy, State::Unhealthy][rng.usize(..2)];
                    table = table.with_health(id(&table, target, 0), state, START);
                }
                1 if !held.is_empty() => drop(held.swap_remove(rng.usize(..held.len()))),
                _ => {
                    let request = Request { uri: format!("/{step}"), ..Request::default() };
                    let load = |at: usize| held.iter().filter(|picked| usize::from(picked.target) == at).count();
                    let usable = |at: usize| route(&table).targets()[at].endpoints[0].state != State::Unhealthy;
                    let eligible = (0..4).any(|at| usable(at) && load(at) < 3);
                    match balancers.of(route(&table)).pick(route(&table), &ask(&request, START)) {
                        Pick::Endpoint(picked) => {
                            let at = usize::from(picked.target);
                            assert!(usable(at) && load(at) < 3, "{policy}");
                            held.push(picked);
                        }
                        Pick::Full => assert!(!eligible && (0..4).any(usable), "{policy}"),
                        Pick::Unusable => assert!(!(0..4).any(usable), "{policy}"),
                    }
                }
            }
        }
    }
}
