//! What the XDP program costs per packet, by BPF_PROG_TEST_RUN: no interface is touched. Beside it an empty program,
//! whose time is that of the measurement.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, Pod, TestRun, TestRunOptions};
use serde_json::json;
use weir_common::abi::drop::{Conf, Denied, Limit, PROGRAM, arm, map};
use weir_common::abi::{Address, Endpoint, Plain};

use crate::bare;

/// Options of `xdp`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The object with the program.
    object: PathBuf,
    /// Packets of each measurement.
    #[arg(long, default_value_t = 1_000_000)]
    repeat: u32,
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Who floods.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// What is guarded.
pub(crate) const LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443);
const SSH: u16 = 22;

/// A packet and what is armed while it comes.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    port: u16,
    armed: u32,
    denied: bool,
}

const fn case(name: &'static str, port: u16, armed: u32) -> Case {
    Case { name, port, armed, denied: false }
}

const ALL: u32 = arm::ALLOW4 | arm::ALLOW6 | arm::ANY | arm::SYN;

/// All of them.
pub(crate) const CASES: &[Case] = &[
    case("ssh", SSH, ALL),
    case("idle", LISTENER.port(), 0),
    Case { name: "denied", port: LISTENER.port(), armed: arm::DENY, denied: true },
    case("syn_over", LISTENER.port(), arm::SOURCE),
    case("syn_over_all_armed", LISTENER.port(), ALL),
];

/// Prints nanoseconds per packet, round by round, as JSON: those of the empty program, and each case's net of them.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    measure(options).map(|()| true).map_err(|e| format!("xdp: {e}"))
}

fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut empty = Ebpf::load(&bare::object(&bare::PASS))?;
    load(&mut empty, bare::PROGRAM)?;
    let mut cases = Vec::new();
    for case in CASES {
        cases.push((case, prepared(&options.object, case)?, Vec::new()));
    }
    let mut floor = Vec::new();
    for _ in 0..options.rounds.max(1) {
        let none = nanoseconds(&empty, bare::PROGRAM, SSH, options.repeat)?;
        floor.push(none);
        for (case, ebpf, net) in &mut cases {
            net.push(nanoseconds(ebpf, PROGRAM, case.port, options.repeat)? - none);
        }
    }
    let net: serde_json::Map<_, _> =
        cases.into_iter().map(|(case, _, net)| (case.name.to_owned(), json!(net))).collect();
    println!("{}", json!({ "empty": floor, "net": net }));
    Ok(())
}

/// The program, loaded with maps as the case wants them.
pub(crate) fn prepared(object: &Path, case: &Case) -> Result<Ebpf, Box<dyn Error>> {
    let mut ebpf = Ebpf::load_file(object)?;
    load(&mut ebpf, PROGRAM)?;
    let port = LISTENER.port();
    set(&mut ebpf, map::PORTS, u32::from(port / 64), 1u64 << (port % 64))?;
    insert(&mut ebpf, map::SCOPE, Endpoint::from(LISTENER).octets(), 1u32)?;
    let limit = Limit { t: 100_000_000, tolerance: 1_900_000_000 };
    let wide = Limit { t: 1, tolerance: u64::MAX / 2 };
    let conf = Conf { armed: case.armed, dry_run: 0, source: limit, parent: wide, total: wide, ..Conf::IDLE };
    set(&mut ebpf, map::CONF, 0, conf.octets())?;
    if case.denied {
        let entry = Denied { expires_ns: u64::MAX, rule: 1, ..Denied::default() };
        insert(&mut ebpf, map::DENY, Address::from(IpAddr::V4(CLIENT)).octets(), entry.octets())?;
    }
    Ok(ebpf)
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<(), Box<dyn Error>> {
    let program: &mut Xdp = ebpf.program_mut(name).ok_or("no such program")?.try_into()?;
    Ok(program.load()?)
}

fn set<V: Pod>(ebpf: &mut Ebpf, name: &str, index: u32, value: V) -> Result<(), Box<dyn Error>> {
    let mut map: Array<&mut MapData, V> = ebpf.map_mut(name).ok_or(name)?.try_into()?;
    Ok(map.set(index, value, 0)?)
}

fn insert<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &str, key: K, value: V) -> Result<(), Box<dyn Error>> {
    let mut map: HashMap<&mut MapData, K, V> = ebpf.map_mut(name).ok_or(name)?.try_into()?;
    Ok(map.insert(key, value, 0)?)
}

fn nanoseconds(ebpf: &Ebpf, name: &str, port: u16, repeat: u32) -> Result<f64, Box<dyn Error>> {
    let program: &Xdp = ebpf.program(name).ok_or("no such program")?.try_into()?;
    let frame = syn(port);
    let run = program.test_run(TestRunOptions { data_in: Some(&frame), repeat, ..TestRunOptions::new() })?;
    Ok(run.duration.as_nanos() as f64)
}

/// A SYN of the client to the listener's address.
pub(crate) fn syn(port: u16) -> Vec<u8> {
    let IpAddr::V4(listener) = LISTENER.ip() else { return Vec::new() };
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    frame.extend(CLIENT.octets());
    frame.extend(listener.octets());
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}
