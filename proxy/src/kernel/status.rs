//! What the kernel half does now, and what it cannot do and why: published each second, and whenever it changes.

use serde::Serialize;

use weir_common::abi::drop::{Action, Cause, Skip};

/// Everything that is shown of the kernel half.
#[derive(Clone, PartialEq, Debug, Serialize, Default)]
pub struct Status {
    /// What becomes of packets to drop: `kernel.mode`.
    pub mode: &'static str,
    /// drop, flow, wire, steer.
    pub groups: Vec<Group>,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
    /// Packets with a cause, since the start.
    pub packets: Vec<Packets>,
    /// Packets that were not looked at, since the start.
    pub skipped: Vec<Skipped>,
    /// Seconds that some CPU counted sources together.
    pub pressure_s: u64,
    /// Promotions: made, and refused by why.
    pub promotions: Promotions,
    /// What the kernel's rings had no room for.
    pub lost: u64,
}

/// One group of programs.
#[derive(Clone, PartialEq, Debug, Serialize, Default)]
pub struct Group {
    /// Its name.
    pub name: &'static str,
    /// Whether its programs run.
    pub state: State,
    /// How: `native`, `generic`, `sock_ops`, `tracepoint`, `steering`, `watching`.
    pub mode: Option<&'static str>,
    /// Why it is off, or not all it could be.
    pub why: Option<String>,
    /// The programs' ids, as bpftool shows them.
    pub programs: Vec<u32>,
    /// Where they are attached.
    pub links: Vec<Link>,
    /// Its maps.
    pub maps: Vec<Map>,
    /// Whether it is off because somebody turned it off, or nothing is left for it to do.
    #[serde(skip)]
    pub is_unwanted: bool,
}

/// Whether a group's programs run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is loaded, as the configuration or the machine has it.
    #[default]
    Off,
    /// They do, everywhere.
    Attached,
    /// They do, but not at every place where they should.
    Partial,
    /// They should, and do not.
    Failed,
}

/// One place where a program is attached, or should be.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Link {
    /// The interface, or the cgroup.
    pub place: String,
    /// How; none where it is not.
    pub mode: Option<&'static str>,
    /// Why it is not.
    pub error: Option<String>,
}

/// How full a map is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Map {
    /// Its name.
    pub name: &'static str,
    /// Entries; none where nobody counts them.
    pub entries: Option<u64>,
    /// The most it may have.
    pub max: u64,
    /// Entries that it had no room for, since the start.
    pub full: u64,
}

/// Something that is missing, and what follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Warning {
    /// Which of the fixed ones.
    pub code: &'static str,
    /// What to do.
    pub hint: String,
}

/// Packets of one cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Packets {
    /// Why.
    pub cause: &'static str,
    /// What became of them.
    pub action: &'static str,
    /// How many.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// Packets that passed without being judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Skipped {
    /// Why.
    pub why: &'static str,
    /// How many.
    pub packets: u64,
}

/// What became of promotions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Default)]
pub struct Promotions {
    /// Sources that were denied.
    pub made: u64,
    /// Sources that were not.
    pub refused: Vec<Refusals>,
}

/// Refused promotions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Refusals {
    /// Why.
    pub why: &'static str,
    /// How many.
    pub count: u64,
}

/// What the drop program counts, by place in its map; kept when the program is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Packets and octets at each place of COUNT.
    pub cells: [(u64, u64); weir_common::abi::drop::COUNTS as usize],
    /// Nanoseconds under pressure.
    pub pressed_ns: u64,
    /// Samples that found no room.
    pub lost: u64,
}

impl Counts {
    /// Both together.
    pub fn plus(mut self, other: &Self) -> Self {
        for (cell, more) in self.cells.iter_mut().zip(other.cells) {
            *cell = (cell.0 + more.0, cell.1 + more.1);
        }
        self.pressed_ns += other.pressed_ns;
        self.lost += other.lost;
        self
    }

    /// By cause and action.
    pub fn packets(&self) -> Vec<Packets> {
        let of = |cause: Cause, action: Action| {
            let (packets, bytes) = self.cells[weir_common::abi::drop::counted(cause, action) as usize];
            Packets { cause: cause.name(), action: action.name(), packets, bytes }
        };
        Cause::ALL.into_iter().flat_map(|cause| Action::ALL.map(|action| of(cause, action))).collect()
    }

    /// By why they were skipped.
    pub fn skipped(&self) -> Vec<Skipped> {
        let of = |why: Skip| Skipped {
            why: why.name(),
            packets: self.cells[weir_common::abi::drop::skipped(why) as usize].0,
        };
        Skip::ALL.map(of).into()
    }
}

impl Status {
    /// A group by its name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Packets that were dropped, and their octets.
    pub fn drops(&self) -> (u64, u64) {
        let dropped = self.packets.iter().filter(|row| row.action == Action::Drop.name());
        dropped.fold((0, 0), |(packets, bytes), row| (packets + row.packets, bytes + row.bytes))
    }
}

impl Group {
    /// A group that does nothing, and why.
    pub fn off(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, why: Some(why.into()), ..Self::default() }
    }

    /// A group that was turned off, or has nothing to do.
    pub fn unwanted(name: &'static str, why: impl Into<String>) -> Self {
        Self { is_unwanted: true, ..Self::off(name, why) }
    }

    /// A group that should run and does not.
    pub fn failed(name: &'static str, why: impl Into<String>) -> Self {
        Self { state: State::Failed, ..Self::off(name, why) }
    }
}
