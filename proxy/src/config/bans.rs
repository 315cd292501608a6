//! The document's bans as a table: its CIDRs, and those of the files that it names. Made anew when a file changes,
//! without a new generation.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

use super::cidrs::{Bounds, read};
use super::raw::{self, Document};
use super::{Problem, Problems};
use crate::base::Instant;
use crate::policy::ban::{Ban, Origin, STATIC_MAX, Table, canonical};

/// A file of as many CIDRs as there may be, comments aside: 40 octets are a long one.
const FILE: Bounds = Bounds { octets: 64 << 20, entries: STATIC_MAX };

/// A table, and the files that it was made of as they were before they were read.
#[derive(Clone, Default)]
pub struct Listed {
    /// Whom the document bans.
    pub table: Arc<Table>,
    /// Of each file, in the document's order; none: it could not be found.
    pub stamps: Vec<Option<Stamp>>,
}

impl Listed {
    /// Reads all that the document names. Wrong entries go to `problems`. Blocks.
    pub fn read(document: &Document, problems: &mut Problems) -> Self {
        let stamps = stamps(document);
        Self { table: table(document, problems).map(Arc::new).unwrap_or_default(), stamps }
    }
}

/// What tells a file that has changed, or another of its name, from the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// How the file at `path` stands; none: it cannot be found.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let seen = std::fs::metadata(path).ok()?;
        Some(Self { inode: seen.ino(), size: seen.size(), modified: (seen.mtime(), seen.mtime_nsec()) })
    }
}

/// How the files of the document's bans stand, in its order. Blocks.
pub fn stamps(document: &Document) -> Vec<Option<Stamp>> {
    document.bans.iter().filter_map(|ban| ban.file.as_deref()).map(Stamp::of).collect()
}

/// Who the document bans. Wrong entries go to `problems`, and then there is no table. Blocks.
pub fn table(document: &Document, problems: &mut Problems) -> Option<Table> {
    let clock = Clock::read();
    let mut cidrs = Vec::new();
    for (raw, at) in document.bans.iter().zip(0..) {
        match cidrs_of(raw) {
            Ok(own) => cidrs.extend(own.into_iter().map(|cidr| (cidr, at))),
            Err(problem) => problems.push(problem),
        }
        if cidrs.len() > STATIC_MAX {
            problems
                .push(raw.at.problem("", format!("is one too many: all bans together may have {STATIC_MAX} CIDRs")));
            return None;
        }
    }
    let bans = document.bans.iter().map(|raw| ban(raw, clock)).collect();
    (!problems.is_fatal()).then(|| Table::build(bans, cidrs))
}

fn cidrs_of(raw: &raw::Ban) -> Result<Vec<IpNet>, Problem> {
    match (&raw.file, raw.cidr) {
        (Some(path), _) => {
            of_file(path).map_err(|why| raw.at.problem("file", format!("file = {}: {why}", path.display())))
        }
        (None, cidr) => Ok(cidr.into_iter().collect()),
    }
}

fn of_file(path: &Path) -> Result<Vec<IpNet>, String> {
    read(path, FILE)
}

/// What findings, logs and explain call a ban of the document.
pub fn rule(raw: &raw::Ban) -> String {
    match (&raw.file, raw.cidr) {
        (Some(path), _) => path.display().to_string(),
        (None, cidr) => cidr.map(|cidr| canonical(cidr).to_string()).unwrap_or_default(),
    }
}

fn ban(raw: &raw::Ban, clock: Clock) -> Ban {
    Ban {
        rule: rule(raw).into(),
        reason: raw.reason.as_str().into(),
        expires: raw.expires.map(|unix_s| clock.at(unix_s)),
        origin: Origin::Document,
    }
}

/// Both clocks, read together.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    unix: Duration,
    now: Instant,
}

impl Clock {
    /// Reads them.
    pub fn read() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let since = Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default());
        Self {
            unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            now: Instant::from_nanos(0) + since,
        }
    }

    /// The monotonic clock, as it was read.
    pub fn now(self) -> Instant {
        self.now
    }

    /// The monotonic clock at so many unix seconds.
    pub fn at(self, unix_s: u64) -> Instant {
        let unix = Duration::from_secs(unix_s);
        self.now + unix.saturating_sub(self.unix) - self.unix.saturating_sub(unix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Table, Problems> {
        let document = crate::config::parse(&format!("version = 1\n{text}"), "weir.toml")?;
        let mut problems = Problems::new();
        table(&document, &mut problems).ok_or(problems)
    }

    fn told(text: &str) -> String {
        of(text).err().map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn bans_come_from_the_document_and_from_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bad");
        std::fs::write(&path, "# list\n198.51.100.0/24\n2001:db8::1\n").expect("written");
        let text = format!("[[ban]]\ncidr = \"192.0.2.7\"\nreason = \"scans\"\n[[ban]]\nfile = \"{}\"", path.display());
        let table = of(&text).unwrap_or_else(|problems| panic!("{problems}"));
        let now = Clock::read().now;
        let rule = |ip: &str| table.lookup(ip.parse().expect("an address"), now).map(|hit| hit.ban.rule.to_string());
        assert_eq!(rule("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(rule("198.51.100.9"), Some(path.display().to_string()));
        assert_eq!((rule("2001:db8::1").is_some(), rule("2001:db8::2")), (true, None));
        std::fs::write(&path, "198.51.100.0/24\nnobody\n").expect("written");
        assert!(told(&text).contains("weir.toml:6") && told(&text).contains("line 2: must be"), "{}", told(&text));
    }

    #[test]
    fn a_ban_has_a_cidr_or_a_file() {
        assert!(told("[[ban]]\nreason = \"x\"").contains("needs a cidr or a file"));
        assert!(told("[[ban]]\ncidr = \"::1\"\nfile = \"/x\"").contains("both a cidr and a file"));
        assert!(told("[[ban]]\nfile = \"/nowhere\"").contains("weir.toml:3: ban /nowhere: file = /nowhere"));
    }

    #[test]
    fn bans_end_at_their_time() {
        let soon = Clock::read().unix.as_secs() + 3_600;
        let moment = jiff::Timestamp::from_second(i64::try_from(soon).expect("a time")).expect("a time");
        let text = format!(
            "[[ban]]\ncidr = \"192.0.2.1\"\nexpires = {moment}\n[[ban]]\ncidr = \"192.0.2.2\"\nexpires = 2001-01-01T00:00:00Z"
        );
        let table = of(&text).unwrap_or_else(|problems| panic!("{problems}"));
        let holds = |last: u8, after: u64| {
            let now = Clock::read().now + Duration::from_secs(after);
            table.lookup([192, 0, 2, last].into(), now).is_some()
        };
        assert_eq!([holds(1, 3_590), holds(1, 3_610), holds(2, 0)], [true, false, false]);
    }
}
