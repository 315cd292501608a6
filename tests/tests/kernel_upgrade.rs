//! The kernel half while one binary takes over from another: under a flood nothing denied passes, whether the new one
//! serves in the end or not, and nothing is left of either.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use aya::programs::{Xdp, XdpMode};
use rustix::process::Signal;
use serde_json::Value;
use weir_common::abi::drop;
use weir_tests::load::Load;
use weir_tests::netns::edge::{denied, deny, entry, group};
use weir_tests::netns::flood::Running;
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Edge, Flood, Pair, Sources};
use weir_tests::object::Group;
use weir_tests::program::Running as Program;
use weir_tests::weir::binary;
use weir_tests::{Config, Origin, Weir, wait};

const ENFORCE: &str = "[kernel]\nmode = \"enforce\"\n";

fn attacker() -> IpAddr {
    Pair::client_address(1)
}

fn other() -> IpAddr {
    Pair::client_address(2)
}

/// weir at an edge, once its program is at the wire.
fn start(config: Config) -> Weir {
    let weir = config.start();
    wait::until("the program is at the wire", || group(&weir, "drop")["state"] == "attached");
    weir
}

/// The program that runs at the wire.
fn program(edge: &Edge) -> Option<u64> {
    let text = edge.pair.server.output(&["ip", "-j", "link", "show", "dev", WIRE]);
    let links: Value = serde_json::from_str(&text).expect("ip's JSON");
    links[0]["xdp"]["prog"]["id"].as_u64()
}

/// SYNs of the attacker, over and over. Each that passed would be answered.
fn flood(edge: &Edge, weir: &Weir) -> (Running, u64) {
    let (SocketAddr::V4(target), IpAddr::V4(source)) = (weir.web(), attacker()) else { panic!("IPv4 addresses") };
    let sources = Sources::One(source);
    let flood = Flood { target, sources, packets_max: u64::MAX, time_max: Duration::from_secs(110), rate: 3000 };
    let ready = flood.ready(&edge.pair.client, WIRE);
    // Finding the neighbour was an exchange, and may not be over.
    let mut before = answers(edge);
    wait::until("the wire is still", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = answers(edge);
        std::mem::replace(&mut before, now) == now
    });
    (ready.start(), before)
}

/// Segments that have come to the client's side.
fn answers(edge: &Edge) -> u64 {
    edge.pair.client.snmp("Tcp", "InSegs")
}

/// How many packets of the attacker its entry has dropped.
fn dropped(weir: &Weir) -> u64 {
    entry(weir, attacker()).and_then(|entry| entry["packets"].as_u64()).unwrap_or(0)
}

#[track_caller]
fn nothing_lost(load: Load) {
    let (good, failures) = load.stop();
    assert!(failures.is_empty(), "{} lost of {good}: {:?}", failures.len(), &failures[..failures.len().min(5)]);
}

#[test]
fn what_an_operator_and_a_rule_have_denied_stays_so_with_its_times_and_counts() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let rule = "[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\nalgorithm = \"fixed_window\"\n\
                kernel = { after = 5, within = \"1m\", ttl = \"1h\", ttl_max = \"1h\" }\n";
    let mut weir = start(edge.config(&origin.url()).tables(&format!("{rule}{ENFORCE}")));
    assert_eq!(deny(&weir, attacker(), "2h").status, 201);
    let mut client = edge.client(other(), &weir);
    while weir_tests::netns::edge::ask(&mut client, "/", &[]).is_ok() {}
    wait::until("both are denied", || denied(&weir).len() == 2);
    assert!(!edge.reaches(attacker(), weir.web()) && !edge.reaches(other(), weir.web()));
    let before = denied(&weir);
    weir.upgraded(&[]);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    let after = denied(&weir);
    assert_eq!(after.len(), 2);
    for (before, after) in before.iter().zip(&after) {
        for key in ["address", "table", "rule", "reason", "ttl_s", "action"] {
            assert_eq!(before[key], after[key], "{key}: {before} {after}");
        }
        assert!(after["packets"].as_u64() >= before["packets"].as_u64(), "{before} {after}");
    }
    assert!(!edge.reaches(attacker(), weir.web()) && !edge.reaches(other(), weir.web()));
    assert_eq!(edge.get(Pair::client_address(3), &weir, "/", &[]).status, 200);
    let path = format!("/api/v1/kernel/deny?address={}", attacker());
    let released = weir_tests::request(weir.management(), "DELETE", &path, &[("Host", "localhost")], b"");
    assert_eq!(released.status, 200, "{}", released.text());
    assert!(edge.reaches(attacker(), weir.web()), "the new process rules");
    weir.stop_all();
}

#[test]
fn a_source_that_has_used_up_its_syns_has_used_them_up_in_the_new_process_too() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let syn = "[kernel.syn]\nrate = 1\nburst = 10\nprefix_factor = 0\nknown_ttl = \"0s\"\n";
    let mut weir = start(edge.config(&origin.url()).tables(&format!("{ENFORCE}{syn}")));
    let knock = || edge.connect(attacker(), weir.web(), Duration::from_millis(300)).is_ok();
    let let_in = (0..12).filter(|_| knock()).count();
    assert!((9..12).contains(&let_in), "{let_in} of a burst of 10");
    weir.upgraded(&[]);
    let let_in = (0..6).filter(|_| edge.connect(attacker(), weir.web(), Duration::from_millis(300)).is_ok()).count();
    assert!(let_in <= 4, "{let_in} more: a new burst");
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    weir.stop_all();
}

#[test]
fn cgroup_and_steering_are_the_new_processs_and_nothing_is_left_at_the_end() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let steer = "[kernel]\nmode = \"enforce\"\nsteer = \"on\"\n";
    let mut weir = start(edge.config(&origin.url()).workers(2).tables(steer));
    wait::until("it steers", || group(&weir, "steer")["state"] == "attached");
    let text = weir.text();
    let mut programs = programs(&weir);
    for (turn, workers) in [2, 1, 2].into_iter().enumerate() {
        weir.write(&text.replace("workers = 2", &format!("workers = {workers}")));
        let new = weir.upgraded(&[]);
        if turn == 0 {
            assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
        }
        wait::until("the one before has ended", || weir.processes().iter().all(|one| one.0 == new.0));
        let wanted = if workers > 1 { "attached" } else { "off" };
        wait::until("steering stands", || group(&weir, "steer")["state"] == wanted);
        wait::until("flows are followed", || group(&weir, "flow")["state"] == "attached");
        assert_eq!(group(&weir, "drop")["state"], "attached");
        programs.extend(self::programs(&weir));
        for _ in 0..20 {
            assert_eq!(edge.get(other(), &weir, "/", &[]).status, 200);
        }
        wait::until("connections are seen by the kernel", || {
            weir.api("/api/v1/flows").to_string().contains("kernel") || group(&weir, "flow")["maps"] != Value::Null
        });
    }
    weir.stop_all();
    wait::until("the wire is free", || program(&edge).is_none());
    let loaded =
        || aya::programs::loaded_programs().flatten().filter(|program| programs.contains(&program.id())).count();
    wait::until("no program is left", || loaded() == 0);
    assert!(edge.cgroup.children().is_empty(), "{:?}", edge.cgroup.children());
}

#[test]
fn a_cgroup_that_weir_has_made_serves_the_next_process_and_goes_with_the_last() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let [program, arguments @ ..] = edge.cgroup.starter();
    let _somebody = Program::start(Command::new(program).args(arguments).args(["sleep", "600"]));
    wait::until("somebody is inside", || {
        std::fs::read_to_string(edge.cgroup.path().join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
    });
    let weir = start(edge.config(&origin.url()));
    let made = edge.cgroup.path().join(format!("weir-{}", weir.pid()));
    assert_eq!(edge.cgroup.children(), std::slice::from_ref(&made));
    for _ in 0..2 {
        let new = weir.upgraded(&[]);
        wait::until("the one before has ended", || weir.processes().iter().all(|one| one.0 == new.0));
        assert_eq!(edge.cgroup.children(), std::slice::from_ref(&made));
        let inside = std::fs::read_to_string(made.join("cgroup.procs")).expect("a cgroup");
        assert_eq!(inside.trim(), new.0.to_string());
        wait::until("flows are followed there", || group(&weir, "flow")["state"] == "attached");
    }
    weir.stop_all();
    assert!(edge.cgroup.children().is_empty(), "{:?}", edge.cgroup.children());
}

/// Ids of the programs that are loaded for it.
fn programs(weir: &Weir) -> Vec<u32> {
    let kernel = weir_tests::netns::edge::kernel(weir);
    let groups = kernel["groups"].as_array().expect("groups");
    let ids = groups.iter().flat_map(|group| group["programs"].as_array().cloned().unwrap_or_default());
    ids.filter_map(|id| id.as_u64()?.try_into().ok()).collect()
}

#[test]
fn a_process_of_another_user_gets_nothing_whatever_the_files_permissions_say() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().start();
    let socket = weir.path("upgrade.sock");
    let config = weir.path("weir.toml");
    // A home directory of root's may hide the binary from others.
    let copy = weir.path("weir");
    std::fs::copy(binary(), &copy).expect("a copy");
    for path in [socket.parent().expect("a directory"), &config, &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permitted");
    }
    let foreign = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(args);
        weir_tests::program::finish(&mut command, wait::SOON)
    };
    let config = config.to_string_lossy().into_owned();
    let closed = foreign(&["upgrade", "--config", &config]);
    assert_eq!(closed.code, Some(4), "{closed:?}");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).expect("permitted");
    let open = foreign(&["upgrade", "--config", &config]);
    assert_eq!(open.code, Some(4), "{open:?}");
    assert!(open.stderr.contains("65534"), "{}", open.stderr);
    let takeover = foreign(&["run", "--takeover", "--config", &config]);
    assert_eq!(takeover.code, Some(7), "{takeover:?}");
    assert!(takeover.stderr.contains("65534"), "{}", takeover.stderr);
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(weir.processes().len(), 1);
    weir.upgraded(&[]);
    weir.stop_all();
}

/// Floods, for seconds.
mod heavy {
    use super::*;

    #[test]
    fn nothing_denied_passes_while_workers_are_two_then_one_then_two() {
        let edge = Edge::new();
        let origin = Origin::ok("hello");
        let mut weir = start(edge.config(&origin.url()).without_client_bounds().workers(2).tables(ENFORCE));
        let text = weir.text();
        assert_eq!(deny(&weir, attacker(), "1h").status, 201);
        let (flood, before) = flood(&edge, &weir);
        wait::until("the flood is dropped", || dropped(&weir) > 1000);
        // Loopback meets no XDP: this load is on the server's side, and its answers are not counted.
        let load = Load::fresh(weir.web(), "/", 4);
        for (turn, workers) in [1, 2].into_iter().enumerate() {
            weir.write(&text.replace("workers = 2", &format!("workers = {workers}")));
            load.progress(100);
            let program_before = program(&edge);
            weir.upgraded(&[]);
            if turn == 0 {
                assert_eq!(weir.wait_end(Duration::from_secs(70)).code, Some(0));
            }
            assert!(program(&edge).is_some() && program(&edge) != program_before, "a program of its own");
            let count = dropped(&weir);
            wait::until("the flood is dropped by the new one", || dropped(&weir) > count + 1000);
            load.progress(100);
        }
        let flooded = flood.stop();
        assert_eq!(answers(&edge), before, "some of {flooded:?} passed");
        nothing_lost(load);
        assert_eq!(edge.get(other(), &weir, "/", &[]).status, 200, "and somebody else is let in");
        weir.stop_all();
    }

    #[test]
    fn a_process_that_dies_with_the_links_in_its_hands_leaves_them_to_the_old_one() {
        let edge = Edge::new();
        let origin = Origin::ok("hello");
        let weir = start(edge.config(&origin.url()).without_client_bounds().tables(ENFORCE));
        assert_eq!(deny(&weir, attacker(), "1h").status, 201);
        let own = program(&edge).expect("a program");
        // The new document requires a place that is taken: its process gets as far as the links, and no further.
        edge.pair.server.ip("link add busy0 type veth peer name busy1");
        let mut ebpf = Group::Drop.load(&[]).expect("the object");
        let other: &mut Xdp = ebpf.program_mut(drop::PROGRAM).expect("a program").try_into().expect("XDP");
        other.load().expect("loaded");
        edge.pair.server.run(|| other.attach("busy0", XdpMode::Driver)).expect("attached");
        let required = format!("{ENFORCE}required = [\"drop\"]\ninterfaces = [\"{WIRE}\", \"busy0\"]\n");
        weir.write(&weir.text().replace(ENFORCE, &required));
        let (flood, before) = flood(&edge, &weir);
        wait::until("the flood is dropped", || dropped(&weir) > 1000);
        let load = Load::fresh(weir.web(), "/", 2);
        std::thread::scope(|scope| {
            let upgrade = scope.spawn(|| weir.upgrade(&[]));
            wait::until("another program is at the wire", || program(&edge) != Some(own));
            let new = weir.processes().into_iter().find(|one| one.0 != weir.pid()).expect("another process");
            load.progress(100);
            new.signal(Signal::KILL);
            let exit = upgrade.join().expect("a status");
            assert_eq!(exit.code, Some(1), "{}", exit.stderr);
        });
        wait::until("the old one's is there again", || program(&edge) == Some(own));
        let count = dropped(&weir);
        wait::until("and drops", || dropped(&weir) > count + 1000);
        let flooded = flood.stop();
        assert_eq!(answers(&edge), before, "some of {flooded:?} passed");
        nothing_lost(load);
        assert_eq!(deny(&weir, super::other(), "1h").status, 201, "it rules again");
        assert!(!edge.reaches(super::other(), weir.web()));
        weir.stop();
    }
}
