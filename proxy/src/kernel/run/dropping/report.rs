//! How dropping stands, and what it lacks.

use weir_common::abi::drop::map;

use super::Dropping;
use crate::config::value::{KernelAttach, KernelMode};
use crate::kernel::drop::Drop;
use crate::kernel::link;
use crate::kernel::scope::Place;
use crate::kernel::status::{self, Status, Warning};

impl Dropping {
    /// The group's status, and its warnings.
    pub(in crate::kernel::run) fn status(&self) -> (Status, Vec<Warning>) {
        let counts = self.group.as_ref().map(Drop::counts).unwrap_or_default().plus(&self.counts_before);
        let refusals = self.deny.refusals();
        let status = Status {
            mode: self.wanted.as_ref().map_or(KernelMode::DryRun, |wanted| wanted.kernel.mode).word(),
            groups: vec![self.group_status()],
            warnings: Vec::new(),
            packets: counts.packets(),
            skipped: counts.skipped(),
            pressure_s: counts.pressed_ns / 1_000_000_000,
            promotions: status::Promotions {
                made: self.deny.promoted(),
                refused: refusals.map(|(why, count)| status::Refusals { why: why.word(), count }).into(),
            },
            lost: counts.lost + self.samples.lost(),
        };
        (status, self.warnings())
    }

    fn group_status(&self) -> status::Group {
        let name = "drop";
        let Some(group) = &self.group else { return self.absent(name) };
        let generic = group.links().any(|(_, mode)| mode == link::Mode::Generic);
        let attached = group.links().count();
        let (state, why) = match (attached, self.places.len()) {
            (_, 0) => (status::State::Off, Some(self.no_place())),
            (0, _) => (status::State::Failed, self.first_refusal()),
            (some, all) if some < all => (status::State::Partial, self.first_refusal()),
            _ => (status::State::Attached, None),
        };
        status::Group {
            name,
            state,
            mode: (attached > 0).then_some(if generic { "generic" } else { "native" }),
            why,
            programs: vec![group.program_id()],
            links: self.links(group),
            maps: self.maps(group),
            is_unwanted: false,
        }
    }

    fn links(&self, group: &Drop) -> Vec<status::Link> {
        let here = group.links().map(|(place, mode)| status::Link {
            place: place.name.clone(),
            mode: Some(mode.word()),
            error: None,
        });
        let not_here = self.refused.iter().map(|(place, why)| status::Link {
            place: place.name.clone(),
            mode: None,
            error: Some(self.refusal(place, why).1),
        });
        here.chain(not_here).collect()
    }

    fn maps(&self, group: &Drop) -> Vec<status::Map> {
        let map = |(name, entries, max)| status::Map { name, entries, max, full: self.full.total(name) };
        group.sizes_now().map(map).into()
    }

    fn first_refusal(&self) -> Option<String> {
        self.refused.first().map(|(place, why)| self.refusal(place, why).1)
    }

    fn absent(&self, name: &'static str) -> status::Group {
        match (&self.wanted, &self.obstacle, &self.failure) {
            (Some(wanted), ..) if wanted.kernel.mode == KernelMode::Off => {
                status::Group::unwanted(name, "kernel.mode is off")
            }
            (_, Some(obstacle), _) => status::Group::failed(name, obstacle.to_string()),
            (_, _, Some(failure)) => status::Group::failed(name, failure.why.clone()),
            (Some(_), ..) => status::Group::off(name, self.no_place()),
            (None, ..) => status::Group::off(name, "not loaded yet"),
        }
    }

    fn no_place(&self) -> String {
        match &self.wanted {
            Some(wanted) if wanted.kernel.interfaces.is_empty() => "kernel.interfaces names none".to_owned(),
            _ if !self.unknown.is_empty() => format!("there is no interface {}", self.unknown.join(", ")),
            _ => "no interface has an address of a public listener".to_owned(),
        }
    }

    /// A refusal as a warning's code, and in words.
    fn refusal(&self, place: &Place, why: &link::Refused) -> (&'static str, String) {
        match why {
            link::Refused::Busy => {
                let holder = self.network.interface(place.index).and_then(|interface| interface.program);
                let holder = holder.map_or("another program".to_owned(), |id| format!("program {id}"));
                ("XDP_SLOT_BUSY", format!("{}: {holder} is there, or at an interface above or below", place.name))
            }
            link::Refused::Unsupported(error) => ("XDP_UNSUPPORTED", format!("{}: {error}", place.name)),
        }
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings: Vec<Warning> = Vec::new();
        let mut warn = |code, hint: String| warnings.push(Warning { code, hint });
        if let Some(failure) = &self.failure {
            warn(failure.code, format!("drop: {}", failure.why));
        }
        for (place, why) in &self.refused {
            let (code, hint) = self.refusal(place, why);
            warn(code, hint);
        }
        let asked = self.wanted.as_ref().map(|wanted| wanted.kernel.attach);
        let links = self.group.iter().flat_map(Drop::links);
        let generic: Vec<_> =
            links.filter(|(_, mode)| *mode == link::Mode::Generic).map(|(place, _)| &*place.name).collect();
        if !generic.is_empty() && asked != Some(KernelAttach::Generic) {
            let hint =
                format!("{}: the driver cannot; packets are dropped behind it, at half the speed", generic.join(", "));
            warn("XDP_GENERIC", hint);
        }
        if !self.unknown.is_empty() && self.group.is_some() {
            warn("XDP_UNSUPPORTED", format!("there is no interface {}", self.unknown.join(", ")));
        }
        let full = self.full();
        if !full.is_empty() {
            let maps = full.join(", ");
            let hint =
                format!("{maps}: some entries find no room and hold in weir alone: see kernel.deny_max, prefixes_max");
            warn("KERNEL_MAP_FULL", hint);
        }
        warnings
    }

    /// The maps that have no room for more, or for all they should have.
    fn full(&self) -> Vec<&'static str> {
        let Some(group) = &self.group else { return Vec::new() };
        let is_full = |row: &&(_, Option<u64>, u64)| row.0 == map::DENY && row.1.is_some_and(|n| n >= row.2);
        self.full.lacking().chain(group.sizes_now().iter().filter(is_full).map(|row| row.0)).collect()
    }
}
