//! Every program passes the kernel's verifier, for root and for a user who may just do this.

use aya::Btf;
use aya::programs::{CgroupSkb, Program, ProgramError, SkReuseport, SockOps, Xdp};
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use weir_tests::object::Group;

/// Loads all programs of a group, or says which one the kernel refused, and why.
fn load(group: Group) -> Result<(), String> {
    let mut ebpf = group.load(&[]).map_err(|e| format!("{group:?}: {e:?}"))?;
    for name in group.programs() {
        let program = ebpf.program_mut(name).ok_or(format!("no program {name}"))?;
        let loaded = match program {
            Program::Xdp(xdp) => Xdp::load(xdp),
            Program::SockOps(ops) => SockOps::load(ops),
            Program::CgroupSkb(skb) => CgroupSkb::load(skb),
            Program::SkReuseport(steer) => SkReuseport::load(steer),
            Program::BtfTracePoint(point) => {
                let btf = Btf::from_sys_fs().map_err(|e| e.to_string())?;
                point.load("inet_sock_set_state", &btf)
            }
            _ => return Err(format!("{name}: of a type that no group has")),
        };
        loaded.map_err(|e| format!("{name}: {}", reason(&e)))?;
    }
    Ok(())
}

/// The end of what the verifier says: its beginning is the program.
fn reason(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return error.to_string();
    };
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().collect();
    format!("{io_error}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
}

#[test]
fn root_may_load_every_program() {
    for group in Group::ALL {
        load(group).unwrap();
    }
}

/// What weir's service is given.
const GIVEN: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::PERFMON);

/// Runs a closure as a user with these capabilities alone: both are a thread's own.
fn as_user<T: Send>(capabilities: CapabilitySet, inside: impl FnOnce() -> T + Send) -> T {
    let nobody = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::set_keep_capabilities(true).unwrap();
            rustix::thread::set_thread_res_gid(nobody.1, nobody.1, nobody.1).unwrap();
            rustix::thread::set_thread_res_uid(nobody.0, nobody.0, nobody.0).unwrap();
            let sets = CapabilitySets {
                effective: capabilities,
                permitted: capabilities,
                inheritable: CapabilitySet::empty(),
            };
            rustix::thread::set_capabilities(None, sets).unwrap();
            inside()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn a_user_with_three_capabilities_may_load_every_program() {
    as_user(GIVEN, || {
        for group in Group::ALL {
            load(group).unwrap();
        }
    });
}

#[test]
fn without_one_of_them_some_program_is_refused() {
    for missing in [CapabilitySet::BPF, CapabilitySet::NET_ADMIN, CapabilitySet::PERFMON] {
        let refused = as_user(GIVEN.difference(missing), || Group::ALL.map(load).iter().any(Result::is_err));
        assert!(refused, "{missing:?} is asked for but not needed");
    }
}
