//! `weir upgrade`: another binary takes over from the running one, without a lost connection.

use std::path::PathBuf;

use super::{Exit, Source};
use crate::config::value::SocketPath;
use crate::control::upgrade::{Asked, ask};

/// `weir upgrade [--binary PATH] [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The binary that takes over; without one, what now has the path of the one that runs.
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// The document that says where `upgrade_socket` is.
    #[command(flatten)]
    pub source: Source,
}

/// Asks the running weir, and waits until another one serves or it is clear that none will.
pub fn upgrade(arguments: &Arguments) -> Exit {
    let document = match arguments.source.load() {
        Ok(document) => document,
        Err(problems) => {
            eprint!("{problems}");
            return Exit::of_input(&problems);
        }
    };
    let SocketPath(Some(path)) = &document.upgrade_socket else {
        eprintln!("weir upgrade: {} has no upgrade_socket to ask at", arguments.source.name());
        return Exit::Unreachable;
    };
    // The running weir may be in another directory.
    let binary = match arguments.binary.as_ref().map(std::path::absolute).transpose() {
        Ok(binary) => binary,
        Err(error) => {
            eprintln!("weir upgrade: --binary: {error}");
            return Exit::Usage;
        }
    };
    told(ask(path, binary))
}

fn told(asked: Asked) -> Exit {
    let (exit, why) = match asked {
        Asked::Done { pid, before } => {
            println!("process {pid} serves; process {before} finishes its connections");
            return Exit::Yes;
        }
        Asked::Failed(why) => (Exit::No, format!("not upgraded, the running weir serves on: {why}")),
        Asked::Late(why) => (Exit::Timeout, format!("not upgraded, the running weir serves on: {why}")),
        Asked::Nobody(why) => (Exit::Unreachable, format!("nobody answers: {why}: does weir run with this document?")),
        Asked::NotAllowed(why) => (Exit::NotAllowed, format!("not allowed: {why}")),
    };
    eprintln!("weir upgrade: {}", why.trim_end());
    exit
}
