//! Whatever of the kernel's half is missing: weir serves, and says what is missing.

use aya::programs::{Xdp, XdpMode};
use serde_json::Value;
use weir_common::abi::drop;
use weir_tests::netns::edge::{group, kernel, warnings};
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Edge, Pair};
use weir_tests::object::Group;
use weir_tests::{Config, Origin, Weir, wait};

const ENFORCE: &str = "[kernel]\nmode = \"enforce\"\n";

/// Starts weir, which must serve; waits until it warns of something.
#[track_caller]
fn warned(edge: &Edge, config: Config, code: &str) -> Weir {
    let weir = config.start();
    assert_eq!(edge.get(Pair::CLIENT, &weir, "/", &[]).status, 200);
    wait::until(code, || warnings(&weir).iter().any(|warning| warning == code));
    assert_eq!(edge.get(Pair::CLIENT, &weir, "/", &[]).status, 200, "serves with {code}");
    weir
}

/// The hint of a warning.
fn hint(weir: &Weir, code: &str) -> String {
    let ready = weir.api("/ready");
    let warnings = ready["warnings"].as_array().expect("warnings");
    let warning = warnings.iter().find(|warning| warning["code"] == code);
    warning.and_then(|warning| warning["hint"].as_str()).unwrap_or_default().to_owned()
}

/// weir without a capability that it asks for.
fn without_capability(missing: &str) {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let less = ["setpriv".into(), format!("--bounding-set=-{missing},-sys_admin"), "--inh-caps=-all".into()];
    // CAP_SYS_ADMIN would stand in for two of them. Its cgroup is entered before.
    let config = Config::forwarding(origin.url()).address(Pair::SERVER).under(&less).under(&edge.cgroup.starter());
    let weir = warned(&edge, config.tables(ENFORCE), "BPF_CAPS_MISSING");
    assert!(hint(&weir, "BPF_CAPS_MISSING").to_lowercase().contains(missing), "{}", hint(&weir, "BPF_CAPS_MISSING"));
    for name in ["drop", "flow", "steer"] {
        assert!(group(&weir, name)["programs"].as_array().is_none_or(Vec::is_empty), "{name}: {}", kernel(&weir));
    }
    let link = edge.pair.server.output(&["ip", "link", "show", WIRE]);
    assert!(!link.contains("xdp"), "{link}");
    // What the kernel says of connections anyway stands in for the programs.
    assert_eq!(weir.api("/api/v1/flows").get("error"), None);
}

#[test]
fn without_the_capability_bpf_it_serves_and_warns() {
    without_capability("bpf");
}

#[test]
fn without_the_capability_net_admin_it_serves_and_warns() {
    without_capability("net_admin");
}

#[test]
fn without_the_capability_perfmon_it_serves_and_warns() {
    without_capability("perfmon");
}

/// Takes the wire's slot as somebody else would; gives the program's id.
fn somebody(edge: &Edge, mode: XdpMode) -> (aya::Ebpf, u32) {
    let mut ebpf = Group::Drop.load(&[]).unwrap();
    let program: &mut Xdp = ebpf.program_mut(drop::PROGRAM).unwrap().try_into().unwrap();
    program.load().unwrap();
    edge.pair.server.run(|| program.attach(WIRE, mode)).unwrap();
    let id = program.info().unwrap().id();
    (ebpf, id)
}

#[test]
fn a_slot_that_somebody_has_is_left_to_them_whatever_their_mode() {
    for mode in [XdpMode::Driver, XdpMode::Skb] {
        let edge = Edge::new();
        let origin = Origin::ok("hello");
        let (theirs, id) = somebody(&edge, mode);
        let weir = warned(&edge, edge.config(&origin.url()).tables(ENFORCE), "XDP_SLOT_BUSY");
        assert!(hint(&weir, "XDP_SLOT_BUSY").contains(&id.to_string()), "{mode:?}: {}", hint(&weir, "XDP_SLOT_BUSY"));
        assert!(edge.pair.server.output(&["ip", "link", "show", WIRE]).contains(&format!("id {id} ")), "{mode:?}");
        assert_eq!(group(&weir, "drop")["state"], "failed");
        assert_eq!(group(&weir, "flow")["state"], "attached", "the others are not touched");
        // Once it is free, it is taken.
        drop(theirs);
        wait::until_within(std::time::Duration::from_secs(20), "weir has taken it", || {
            group(&weir, "drop")["state"] == "attached"
        });
        wait::until("nothing warns any more", || !warnings(&weir).contains(&"XDP_SLOT_BUSY".into()));
    }
}

#[test]
fn an_interface_without_native_xdp_gets_the_generic_kind() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    edge.pair.server.ip(&format!(
        "link add bridge0 type bridge\nlink set bridge0 up\naddress del 10.77.0.1/24 dev {WIRE}\n\
         link set {WIRE} master bridge0\naddress add 10.77.0.1/24 dev bridge0\n"
    ));
    let weir = warned(&edge, edge.config(&origin.url()).tables(ENFORCE), "XDP_GENERIC");
    assert_eq!(
        (&group(&weir, "drop")["state"], &group(&weir, "drop")["mode"]),
        (&"attached".into(), &"generic".into())
    );
}

#[test]
fn an_interface_that_must_be_native_and_cannot_is_off() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    edge.pair.server.ip("link add bridge0 type bridge\nlink set bridge0 up\naddress add 10.78.0.1/24 dev bridge0\n");
    let kernel = format!("{ENFORCE}interfaces = [\"bridge0\"]\nattach = \"native\"\n");
    let weir = warned(&edge, edge.config(&origin.url()).tables(&kernel), "XDP_UNSUPPORTED");
    assert_eq!(group(&weir, "drop")["state"], "failed");
}

#[test]
fn without_cgroup2_the_tracepoint_tells_of_connections() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    // In a view of the file system of its own, where the hierarchy is mounted nowhere.
    let hide = "for at in $(awk '/ - cgroup2 /{print $5}' /proc/self/mountinfo | sort -r); do umount -l \"$at\"; done; exec \"$0\" \"$@\"";
    let config = Config::forwarding(origin.url()).address(Pair::SERVER).under(&[
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        hide,
    ]);
    let weir = warned(&edge, config.tables("[kernel]\nmode = \"off\"\n"), "CGROUP2_MISSING");
    wait::until("the tracepoint is attached", || group(&weir, "flow")["mode"] == "tracepoint");
    let mut client = edge.client(Pair::CLIENT, &weir);
    assert_eq!(weir_tests::netns::edge::ask(&mut client, "/", &[]).unwrap().status, 200);
    let port = client.stream().local_addr().unwrap().port();
    let flow = || {
        let flows = weir.api("/api/v1/flows");
        let flows = flows["flows"].as_array().cloned().unwrap_or_default();
        flows.into_iter().find(|flow| flow["src_port"] == port)
    };
    wait::value("the connection is listed", flow);
}

#[test]
fn switched_off_it_loads_nothing() {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let off = "[kernel]\nmode = \"off\"\nflow = false\nsteer = \"off\"\n";
    let weir = edge.config(&origin.url()).tables(off).start();
    assert_eq!(edge.get(Pair::CLIENT, &weir, "/", &[]).status, 200);
    wait::until("its state is known", || group(&weir, "drop") != Value::Null);
    for name in ["drop", "flow", "wire", "steer"] {
        assert!(group(&weir, name)["programs"].as_array().is_none_or(Vec::is_empty), "{name}: {}", kernel(&weir));
    }
    assert!(warnings(&weir).is_empty(), "{:?}", warnings(&weir));
}
