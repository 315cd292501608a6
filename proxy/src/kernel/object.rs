//! The compiled programs, embedded; loaded once per group, with the other groups' maps cut to one entry.

use std::os::fd::{AsFd, OwnedFd};

use aya::maps::{Map, MapError};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use weir_common::abi::{drop, flow, steer, wire};

/// Built by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/weir.bpf.o");

/// The maps of each group.
const GROUPS: &[(Group, &[&str])] = &[
    (
        Group::Drop,
        &[
            drop::map::PORTS,
            drop::map::SCOPE,
            drop::map::CONF,
            drop::map::ALLOW4,
            drop::map::ALLOW6,
            drop::map::DENY,
            drop::map::DENY4,
            drop::map::DENY6,
            drop::map::SYN,
            drop::map::PARENT0,
            drop::map::PARENT1,
            drop::map::TOTAL,
            drop::map::KNOWN,
            drop::map::SOURCE0,
            drop::map::SOURCE1,
            drop::map::COUNT,
            drop::map::CPU,
            drop::map::DROPS,
        ],
    ),
    (
        Group::Flow,
        &[
            flow::map::SYN_AT,
            flow::map::FLOWS,
            flow::map::FLOWS_SEEN,
            flow::map::FLOW_EVENTS,
            flow::map::FLOW_CONF,
            flow::map::FLOW_COUNT,
        ],
    ),
    (Group::Wire, &[wire::map::WIRE]),
    (Group::Steer, &[steer::map::GROUPS, steer::map::SLOTS, steer::map::LISTENERS, steer::map::STEER_COUNT]),
];

/// Programs that are loaded together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Drop,
    Flow,
    Wire,
    Steer,
}

/// Why programs do not run: a warning's code, and what was said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    /// The warning's code.
    pub(super) code: &'static str,
    /// In words.
    pub(super) why: String,
}

impl Failure {
    pub(super) fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }

    /// The kernel did not take what it was given.
    pub(super) fn refused(what: &str, error: &dyn std::error::Error) -> Self {
        let mut why = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            why = format!("{why}: {error}");
            cause = error.source();
        }
        Self::new("KERNEL_REFUSED", why)
    }
}

/// Makes a group's maps, those in `sizes` with so many entries (octets, for rings). No program is loaded yet.
pub(super) fn open(group: Group, sizes: &[(&'static str, u32)]) -> Result<Ebpf, Failure> {
    let mut loader = EbpfLoader::new();
    // Nothing is relocated against the kernel's types, and reading them takes longer than all else here.
    loader.btf(None).verifier_log_level(VerifierLogLevel::DEBUG);
    let others = GROUPS.iter().filter(|(other, _)| *other != group).flat_map(|(_, names)| *names);
    others.for_each(|name| {
        loader.map_max_entries(name, 1);
    });
    sizes.iter().for_each(|(name, entries)| {
        loader.map_max_entries(name, *entries);
    });
    loader.load(OBJECT).map_err(|error| Failure::refused("maps", &error))
}

/// Takes a map out of an object.
pub(super) fn take<M: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &str) -> Result<M, Failure> {
    let map = object.take_map(name).ok_or_else(|| Failure::new("KERNEL_REFUSED", format!("no map {name}")))?;
    M::try_from(map).map_err(|error| Failure::refused(name, &error))
}

/// The same, with a duplicate of its descriptor for another process.
pub(super) fn take_shared<M: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &str,
) -> Result<(M, OwnedFd), Failure> {
    let map = object.take_map(name).ok_or_else(|| Failure::new("KERNEL_REFUSED", format!("no map {name}")))?;
    let descriptor = match &map {
        Map::LruHashMap(data) | Map::ReusePortSockArray(data) => data.fd().as_fd().try_clone_to_owned(),
        _ => Err(std::io::Error::other("not a kind of map that is handed over")),
    };
    let descriptor = descriptor.map_err(|error| Failure::refused(name, &error))?;
    Ok((M::try_from(map).map_err(|error| Failure::refused(name, &error))?, descriptor))
}

/// A program that the verifier has passed.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) fd: OwnedFd,
    pub(super) id: u32,
}

/// Has the verifier look at a program, and loads it. The kernel keeps it for as long as something holds it.
pub(super) fn load<P>(
    object: &mut Ebpf,
    name: &str,
    load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<Loaded, Failure>
where
    for<'a> &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let refused = |error: &dyn std::error::Error| Failure::refused(name, error);
    let absent = || Failure::new("KERNEL_REFUSED", format!("no program {name}"));
    let program = object.program_mut(name).ok_or_else(absent)?;
    let typed: &mut P = program.try_into().map_err(|error: ProgramError| refused(&error))?;
    load(typed).map_err(|error| refused_program(name, &error))?;
    let program = object.program_mut(name).ok_or_else(absent)?;
    let id = program.info().map_err(|error| refused(&error))?.id();
    let fd = program.fd().map_err(|error| refused(&error))?.as_fd().try_clone_to_owned();
    Ok(Loaded { fd: fd.map_err(|error| refused(&error))?, id })
}

/// The verifier's whole answer goes to the log; the warning keeps its last line.
fn refused_program(name: &str, error: &ProgramError) -> Failure {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return Failure::refused(name, error) };
    let said = verifier_log.to_string();
    tracing::debug!(program = name, "the verifier says:\n{said}");
    let last = said.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed"));
    Failure::new("KERNEL_REFUSED", format!("{name}: {io_error}: {}", last.unwrap_or("no word of the verifier")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_map_of_the_object_is_some_groups() {
        let object = aya_obj::Object::parse(OBJECT).expect("an object");
        // Constants of the programs have maps of their own, named like sections.
        let made: BTreeSet<&str> =
            object.maps.keys().map(String::as_str).filter(|name| !name.starts_with('.')).collect();
        let listed: BTreeSet<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
        assert_eq!(made, listed, "a map that no group has is made whole by all of them");
        assert_eq!(listed.len(), GROUPS.iter().map(|(_, names)| names.len()).sum::<usize>(), "in one group each");
    }
}
