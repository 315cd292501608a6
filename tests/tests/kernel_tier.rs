//! From 429 to XDP: who goes on after many denials is dropped by the kernel, and nobody else is.

use std::io::Read;
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weir_tests::netns::edge::{ask, denied, deny, entry, group, kernel, warnings};
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Edge, Pair};
use weir_tests::program::Running;
use weir_tests::{Client, Config, Ended, Origin, Weir, wait};

/// A rule that admits one request an hour, and promotes after so many denials.
fn rule(after: u32, ttl: &str) -> String {
    format!(
        "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\nalgorithm = \"fixed_window\"\n\
         kernel = {{ after = {after}, within = \"1m\", ttl = \"{ttl}\", ttl_max = \"1h\" }}\n"
    )
}

fn mode(mode: &str) -> String {
    format!("[kernel]\nmode = \"{mode}\"\n")
}

/// weir at an edge, with these tables, once its program is at the wire.
fn start(edge: &Edge, config: Config) -> Weir {
    let weir = config.start();
    attached(&weir);
    assert!(edge.pair.server.output(&["ip", "link", "show", WIRE]).contains("prog/xdp"));
    weir
}

fn attached(weir: &Weir) {
    wait::until("the program is at the wire", || group(weir, "drop")["state"] == "attached");
}

fn enforcing(edge: &Edge, origin: &Origin, tables: &str) -> Weir {
    start(edge, edge.config(&origin.url()).tables(&format!("{tables}{}", mode("enforce"))))
}

fn attacker() -> IpAddr {
    Pair::client_address(1)
}

fn other() -> IpAddr {
    Pair::client_address(2)
}

/// Packets with a cause that met an action.
fn packets(weir: &Weir, cause: &str, action: &str) -> u64 {
    let kernel = kernel(weir);
    let rows = kernel["packets"].as_array().expect("packets");
    let row = rows.iter().find(|row| row["cause"] == cause && row["action"] == action);
    row.and_then(|row| row["packets"].as_u64()).unwrap_or(0)
}

/// Promotions that were refused, by why.
fn refused(weir: &Weir, why: &str) -> u64 {
    let kernel = kernel(weir);
    let rows = kernel["promotions"]["refused"].as_array().expect("refusals");
    rows.iter().find(|row| row["why"] == why).and_then(|row| row["count"].as_u64()).unwrap_or(0)
}

#[test]
fn the_denial_after_a_thousand_promotes_and_nothing_else_of_the_machine_is_touched() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = enforcing(&edge, &origin, &rule(1000, "1h"));
    let ssh = edge.other_listener();
    let mut idle = edge.client(attacker(), &weir);
    let statuses = edge.statuses(attacker(), &weir, 1001, &[]);
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 429));
    assert!(edge.reaches(attacker(), weir.web()), "a thousand denials are not more than a thousand");
    assert_eq!(denied(&weir), Vec::<Value>::new());

    assert_eq!(ask(&mut edge.client(attacker(), &weir), "/", &[]).unwrap().status, 429);
    let entry = wait::value("the source is denied", || entry(&weir, attacker()));
    assert_eq!((&entry["table"], &entry["rule"]), (&"rate_limit".into(), &"one".into()));
    assert_eq!((&entry["action"], &entry["ttl_s"]), (&"deny".into(), &3600.into()));
    assert!(!edge.reaches(attacker(), weir.web()), "its SYNs are dropped");
    assert_eq!(idle.ended(), Ended::Reset, "its open connections are cut");
    assert!(edge.reaches(attacker(), ssh.local_addr().unwrap()), "only public listeners are guarded");
    assert_eq!(edge.get(other(), &weir, "/", &[]).status, 200, "somebody else");
    let count = || self::entry(&weir, attacker()).and_then(|entry| entry["packets"].as_u64()).unwrap_or(0);
    wait::until("its packets are counted", || count() > 0);
    assert!(packets(&weir, "deny", "drop") > 0);
    wait::until("the cut connection is counted", || weir.metrics().sum("weir_connections_reset_total", &[]) > 0.0);
}

#[test]
fn drops_become_a_finding_and_samples() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = enforcing(&edge, &origin, "");
    assert_eq!(deny(&weir, attacker(), "1h").status, 201);
    assert!(!edge.reaches(attacker(), weir.web()));
    let found = wait::value("a finding", || {
        let findings = weir.api("/api/v1/audit/findings/local");
        let items = findings["items"].as_array().or(findings["findings"].as_array()).cloned().unwrap_or_default();
        items.into_iter().find(|item| item.to_string().contains("early_drop"))
    });
    assert!(found.to_string().contains(&attacker().to_string()), "{found}");
}

#[test]
fn an_allow_listed_client_is_denied_by_weir_and_never_by_the_kernel() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let tables = format!("{}{}allow = [\"{}/32\"]\n", rule(5, "1h"), mode("enforce"), attacker());
    let weir = start(&edge, edge.config(&origin.url()).tables(&tables));
    assert_eq!(edge.statuses(attacker(), &weir, 30, &[])[1..], [429; 29]);
    wait::until("its promotion is refused", || refused(&weir, "allowed") > 0);
    assert_eq!(denied(&weir), Vec::<Value>::new());
    assert!(edge.reaches(attacker(), weir.web()));
    assert_eq!(deny(&weir, attacker(), "1h").status, 409, "nor by an operator");
}

#[test]
fn a_client_that_a_proxy_names_is_never_dropped_and_nor_is_the_proxy() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let proxy = Pair::client_address(3);
    let tables = format!("{}[[client.proxy]]\ncidrs = [\"{proxy}/32\"]\n", rule(5, "1h"));
    let weir = enforcing(&edge, &origin, &tables);
    let named = [("X-Forwarded-For", "203.0.113.9")];
    assert_eq!(edge.statuses(proxy, &weir, 30, &named)[1..], [429; 29]);
    let unpromoted = || weir.metrics().sum("weir_rate_limit_unpromoted_total", &[]);
    wait::until("its promotion is refused", || unpromoted() > 0.0);
    assert_eq!(denied(&weir), Vec::<Value>::new());
    assert!(edge.reaches(proxy, weir.web()));
}

#[test]
fn a_dry_run_counts_and_drops_nothing() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = start(&edge, edge.config(&origin.url()).tables(&format!("{}{}", rule(5, "1h"), mode("dry_run"))));
    let mut open = edge.client(attacker(), &weir);
    assert_eq!(edge.statuses(attacker(), &weir, 30, &[])[1..], [429; 29]);
    let entry = wait::value("the source would be denied", || entry(&weir, attacker()));
    assert_eq!(entry["action"], "would_deny");
    assert!(edge.reaches(attacker(), weir.web()));
    assert_eq!(ask(&mut open, "/", &[]).unwrap().status, 429, "no connection is cut");
    wait::until("what would be dropped is counted", || packets(&weir, "deny", "would_drop") > 0);
    assert_eq!(packets(&weir, "deny", "drop"), 0);
}

#[test]
fn a_denial_ends_with_its_time_and_doubles_on_relapse() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    // Longer than it takes to see that SYNs are dropped, though they are said again.
    let weir = enforcing(&edge, &origin, &rule(5, "6s"));
    let promote = || {
        let mut client = edge.client(attacker(), &weir);
        // Its connection is cut at some point.
        while ask(&mut client, "/", &[]).is_ok() {}
        wait::value("the source is denied", || entry(&weir, attacker()))["ttl_s"].as_u64()
    };
    assert_eq!(promote(), Some(6));
    assert!(!edge.reaches(attacker(), weir.web()));
    wait::until("it ends", || edge.reaches(attacker(), weir.web()));
    wait::until("and its entry goes", || entry(&weir, attacker()).is_none());
    assert_eq!(promote(), Some(12));
}

#[test]
fn an_operator_denies_and_releases() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = enforcing(&edge, &origin, "");
    assert_eq!(deny(&weir, attacker(), "1h").status, 201);
    assert!(!edge.reaches(attacker(), weir.web()));
    let path = format!("/api/v1/kernel/deny?address={}", attacker());
    let released = weir_tests::exchange::request(weir.management(), "DELETE", &path, &[("Host", "localhost")], b"");
    assert_eq!(released.status, 200, "{}", released.text());
    assert_eq!(edge.get(attacker(), &weir, "/", &[]).status, 200);
}

#[test]
fn whoever_reads_the_metrics_is_no_operator() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let metrics = edge.other_listener().local_addr().unwrap();
    let mut weir = enforcing(&edge, &origin, &format!("[metrics]\nlisten = \"{metrics}\"\n"));
    let mut reader = edge.pair.client.run(|| Client::try_connect_from(attacker(), metrics)).unwrap();
    assert_eq!(ask(&mut reader, "/metrics", &[("Host", "localhost")]).unwrap().status, 200);
    // Whoever is new in the allow set by now, the reader would be too.
    let proxy = Pair::client_address(3);
    weir.reload(|config| config.tables(&format!("[[client.proxy]]\ncidrs = [\"{proxy}/32\"]\n")));
    wait::until("the proxy is allowed", || deny(&weir, proxy, "1h").status == 409);
    assert_eq!(deny(&weir, attacker(), "1h").status, 201);
}

#[test]
fn a_full_map_refuses_counts_and_warns_while_weir_denies_on() {
    const DENY_MAX: u32 = 1024;
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let tables = format!("{}{}deny_max = {DENY_MAX}\n", rule(5, "1h"), mode("enforce"));
    let weir = start(&edge, edge.config(&origin.url()).tables(&tables));
    for n in 0..DENY_MAX {
        let source = IpAddr::from((0xc612_0000 + n).to_be_bytes());
        wait::until("an operator's denial", || deny(&weir, source, "1h").status == 201);
    }
    assert_eq!(deny(&weir, [198, 19, 0, 1].into(), "1h").status, 409);
    assert_eq!(edge.statuses(attacker(), &weir, 30, &[])[1..], [429; 29]);
    wait::until("a promotion is refused", || refused(&weir, "full") > 0);
    assert!(edge.reaches(attacker(), weir.web()));
    assert_eq!(edge.statuses(attacker(), &weir, 3, &[]), [429; 3], "weir itself goes on");
    wait::until("it warns", || warnings(&weir).contains(&"KERNEL_MAP_FULL".into()));
    assert!(weir.metrics().sum("weir_kernel_full_total", &["map=\"DENY\""]) > 0.0);
}

#[test]
fn entries_of_a_rule_that_is_removed_go_with_it() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let rule = rule(5, "1h");
    let mut weir = enforcing(&edge, &origin, &rule);
    let mut client = edge.client(attacker(), &weir);
    while ask(&mut client, "/", &[]).is_ok() {}
    assert!(!edge.reaches(attacker(), weir.web()));
    weir.reload(|config| config.replaced(&rule, ""));
    wait::until("the rule's entries are gone", || denied(&weir).is_empty());
    assert!(edge.reaches(attacker(), weir.web()));
}

#[test]
fn a_ban_holds_in_the_kernel_too() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = enforcing(&edge, &origin, &format!("[[ban]]\ncidr = \"{}/32\"\n", attacker()));
    wait::until("its SYNs are dropped", || !edge.reaches(attacker(), weir.web()));
    wait::until("and counted", || packets(&weir, "ban", "drop") > 0);
    assert_eq!(edge.get(other(), &weir, "/", &[]).status, 200);
}

#[test]
fn a_kill_opens_the_machine_and_leaves_nothing_in_the_kernel() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let mut weir = enforcing(&edge, &origin, "");
    assert_eq!(deny(&weir, attacker(), "1h").status, 201);
    let at = weir.web();
    assert!(!edge.reaches(attacker(), at));
    let programs = programs(&weir);
    assert!(programs.len() >= 2, "drop and flow at least: {programs:?}");
    weir.signal(Signal::KILL);
    weir.wait_end(wait::SOON);
    let link = || edge.pair.server.output(&["ip", "link", "show", WIRE]);
    wait::until("the wire is free", || !link().contains("xdp"));
    let loaded =
        || aya::programs::loaded_programs().flatten().filter(|program| programs.contains(&program.id())).count();
    wait::until("no program is left", || loaded() == 0);
    // The ring closes what it holds a moment after the process.
    let _next = wait::value("the port is free", || std::net::TcpListener::bind(at).ok());
    assert!(edge.reaches(attacker(), at), "open again");
}

/// Ids of the programs that are loaded for it.
fn programs(weir: &Weir) -> Vec<u32> {
    let kernel = kernel(weir);
    let groups = kernel["groups"].as_array().expect("groups");
    let ids = groups.iter().flat_map(|group| group["programs"].as_array().cloned().unwrap_or_default());
    ids.filter_map(|id| id.as_u64()?.try_into().ok()).collect()
}

/// Somebody else in weir's cgroup: weir takes one of its own inside.
fn somebody_inside(edge: &Edge) -> Running {
    let [program, arguments @ ..] = edge.cgroup.starter();
    let somebody = Running::start(Command::new(program).args(arguments).args(["sleep", "600"]));
    wait::until("somebody is inside", || {
        std::fs::read_to_string(edge.cgroup.path().join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
    });
    somebody
}

#[test]
fn a_cgroup_that_a_kill_left_behind_goes_with_the_next_start() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let _somebody = somebody_inside(&edge);
    let mut weir = start(&edge, edge.config(&origin.url()));
    let left = edge.cgroup.path().join(format!("weir-{}", weir.pid()));
    assert_eq!(edge.cgroup.children(), std::slice::from_ref(&left));
    weir.signal(Signal::KILL);
    weir.wait_end(wait::SOON);
    assert_eq!(edge.cgroup.children(), [left]);
    let next = start(&edge, edge.config(&origin.url()));
    assert_eq!(edge.cgroup.children(), [edge.cgroup.path().join(format!("weir-{}", next.pid()))]);
}

#[test]
fn a_start_that_fails_leaves_no_cgroup_behind() {
    let edge = Edge::new();
    let _somebody = somebody_inside(&edge);
    let config = || edge.config("http://127.0.0.1:9");
    let taken = edge.other_listener();
    let address = taken.local_addr().unwrap().to_string();
    for (config, complaint) in [
        (config().tables(&format!("[metrics]\nlisten = \"{address}\"\n")), &*address),
        (config().route(2, "path_regex = \"(\"", &["http://127.0.0.1:9"]), "route 2"),
    ] {
        let exit = config.launch().wait_end(wait::SOON);
        assert!(exit.code.is_some_and(|code| code != 0) && exit.stderr.contains(complaint), "{exit:?}");
        assert!(edge.cgroup.children().is_empty(), "{complaint}: {:?}", edge.cgroup.children());
    }
    start(&edge, config()).stop();
    assert!(edge.cgroup.children().is_empty(), "an end in order: {:?}", edge.cgroup.children());
}

#[test]
fn a_new_address_is_guarded_without_a_restart() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let config = edge.config(&origin.url()).address([0, 0, 0, 0].into()).tables(&mode("enforce"));
    let weir = config.start();
    attached(&weir);
    assert_eq!(deny(&weir, attacker(), "1h").status, 201);
    let first = (Pair::SERVER, weir.web().port()).into();
    assert!(!edge.reaches(attacker(), first));
    edge.pair.server.ip(&format!("address add 10.77.0.100/24 dev {WIRE}"));
    let second = ([10, 77, 0, 100], weir.web().port()).into();
    wait::until("it is guarded there too", || !edge.reaches(attacker(), second));
    assert!(edge.reaches(other(), second));
}

#[test]
fn an_upload_goes_through_the_guarded_wire_whole() {
    let edge = Edge::new();
    let origin = Origin::echo();
    let weir = enforcing(&edge, &origin, "");
    let client = edge.client(other(), &weir);
    let body = vec![b'x'; 2_000_000];
    let (from, to) = (other(), weir.web());
    drop(client);
    let mut stream = edge.connect(from, to, wait::SOON).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let ask = weir_tests::exchange::bytes("POST", "/", &[("Connection", "close")], &body);
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || std::io::Write::write_all(&mut writer, &ask));
        stream.read_to_end(&mut back).unwrap();
    });
    assert!(back.ends_with(&body), "{} octets came back", back.len());
}
