//! Packets that the XDP program drops in a second, on a veth pair in networks of its own. Generator and receiver share a
//! core. Beside it a program of two instructions that drops everything: what the wire and the generator cost.
//!
//! Native: frames that the kernel itself makes and redirects to the wire, so that the generator costs little. Generic: the
//! kernel redirects to no wire without a native program, so a packet socket sends them.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, TestRun, TestRunAttrs, TestRunOptions};
use rustix::thread::CpuSet;
use serde_json::json;
use weir_common::abi::drop::PROGRAM;
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Flood, Pair, Sources};

use crate::bare;
use crate::xdp::{CASES, CLIENT, LISTENER, prepared, syn};

/// Options of `wire`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The object with the program.
    object: PathBuf,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// Frames of one call, and of one batch of them.
const FRAMES: u32 = 1 << 16;
const BATCH: u32 = 64;
/// What is measured on the wire; the program of two instructions comes first.
const MEASURED: [&str; 2] = ["syn_over", "denied"];

/// Prints drops per second, round by round, as JSON.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    measure(options).map(|()| true).map_err(|e| format!("wire: {e}"))
}

fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut report = serde_json::Map::new();
    for (name, mode) in [("native", XdpMode::Driver), ("generic", XdpMode::Skb)] {
        let mut rates = vec![("bare", Vec::new())];
        rates.extend(MEASURED.map(|case| (case, Vec::new())));
        for _ in 0..options.rounds.max(1) {
            for (case, rates) in &mut rates {
                rates.push(rate(options, case, mode)?);
            }
        }
        report.insert(name.into(), rates.into_iter().map(|(case, rates)| (case.to_owned(), json!(rates))).collect());
    }
    println!("{}", serde_json::Value::Object(report));
    Ok(())
}

/// Drops per second of one program on a new wire.
fn rate(options: &Options, case: &str, mode: XdpMode) -> Result<f64, Box<dyn Error>> {
    let SocketAddr::V4(target) = LISTENER else { return Err("an IPv4 listener".into()) };
    let pair = Pair::new();
    pair.server.ip(&format!("address add {}/32 dev {WIRE}", target.ip()));
    pair.client.ip(&format!("route add {}/32 dev {WIRE}", target.ip()));
    // The packet socket's flood asks for the neighbour first, and would be dropped.
    let time_max = Duration::from_secs_f64(options.seconds);
    let packets_max = u64::MAX;
    let flood = Flood { target, sources: Sources::One(CLIENT), packets_max, time_max, rate: 0 };
    let flood = flood.ready(&pair.client, WIRE);
    let (mut ebpf, name) = match CASES.iter().find(|known| known.name == case) {
        Some(case) => (prepared(&options.object, case)?, PROGRAM),
        None => (Ebpf::load(&bare::object(&bare::DROP))?, bare::PROGRAM),
    };
    let program: &mut Xdp = ebpf.program_mut(name).ok_or("no such program")?.try_into()?;
    if case == "bare" {
        program.load()?;
    }
    pair.server.run(|| program.attach(WIRE, mode))?;
    let before = (pair.server.counter(WIRE, "rx_packets"), Instant::now());
    match mode {
        XdpMode::Driver => redirected(&pair, target.port(), time_max)?,
        _ => drop(flood.start().join()),
    }
    let time = before.1.elapsed();
    Ok((pair.server.counter(WIRE, "rx_packets") - before.0) as f64 / time.as_secs_f64())
}

/// Has the kernel send frames to the wire, on one core.
fn redirected(pair: &Pair, port: u16, time: Duration) -> Result<(), Box<dyn Error>> {
    let mut ebpf = Ebpf::load(&bare::object(&bare::redirect(pair.client.index(WIRE))))?;
    let program: &mut Xdp = ebpf.program_mut(bare::PROGRAM).ok_or("no such program")?.try_into()?;
    program.load()?;
    let frame = syn(port);
    let outcome = pair.client.run(|| {
        let mut last = CpuSet::new();
        last.set(std::thread::available_parallelism().map_or(0, |n| n.get() - 1));
        let _ = rustix::thread::sched_setaffinity(None, &last);
        let start = Instant::now();
        while start.elapsed() < time {
            let attrs = TestRunAttrs::new().xdp_live_frames(BATCH);
            let options = TestRunOptions { data_in: Some(&frame), repeat: FRAMES, attrs, ..TestRunOptions::new() };
            program.test_run(options).map_err(|e| e.to_string())?;
        }
        Ok::<(), String>(())
    });
    Ok(outcome?)
}
