//! `weir-bench`: the load generator, the origin, the floor, and the check that a machine is fit for both.

mod bare;
mod body;
mod executor;
mod floor;
mod idle;
mod load;
mod origin;
mod self_check;
mod size;
mod stream;
mod tls;
mod url;
mod wire;
mod xdp;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;

/// Load generator and origin for HTTP/1.1 and HTTP/2, with and without TLS, on glommio's executors: they share no code
/// with what they measure but the libraries below it.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Sends requests and measures their answers.
    Load(load::Options),
    /// Opens connections, sends one request on each, and holds them idle.
    Idle(idle::Options),
    /// Serves `/bytes/SIZE` and takes uploads on every path.
    Origin(origin::Options),
    /// Forwards octets on the bare ring: what the kernel's TCP costs.
    Floor(FloorOptions),
    /// Times the XDP program, packet by packet.
    Xdp(xdp::Options),
    /// Floods the XDP program on a veth pair of its own, beside a bare drop.
    Wire(wire::Options),
    /// Says whether this machine is fit to measure on.
    SelfCheck,
}

/// Options of `floor`.
#[derive(clap::Args)]
struct FloorOptions {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Where everything is forwarded.
    #[arg(long)]
    upstream: SocketAddr,
    /// Core to pin its thread to.
    #[arg(long)]
    cpu: Option<usize>,
}

/// 0 yes, 1 no (errors were met, or the machine is unfit), 7 the system refused.
fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Load(options) => load::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Origin(options) => origin::run(&options),
        Command::Floor(options) => floor::run(options.listen, options.upstream, options.cpu)
            .map(|()| true)
            .map_err(|e| format!("the floor: {e}")),
        Command::Xdp(options) => xdp::run(&options),
        Command::Wire(options) => wire::run(&options),
        Command::SelfCheck => self_check::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("weir-bench: {message}");
            ExitCode::from(7)
        }
    }
}
