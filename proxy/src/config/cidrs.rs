//! Lists of peers in files, and the tables that are made of them and of the document. They are made anew when a file
//! changes, without a new generation.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::format::FromText;
use super::raw::{ClientProxy, Document};
use super::value::PeerNet;
use super::{Problem, Problems};
use crate::policy::identity::{Manner, Trust};

/// What such a file may have.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Octets.
    pub octets: u64,
    /// Entries.
    pub entries: usize,
}

/// A list of trusted peers.
const PEERS: Bounds = Bounds { octets: 16 << 20, entries: 100_000 };

/// Whose word on the client counts. Wrong entries go to `problems`, and then there is no table.
pub fn trust(document: &Document, problems: &mut Problems) -> Option<Trust> {
    let proxies = &document.client.proxies;
    let entries: Vec<_> = proxies.iter().map(|proxy| peers(proxy).map_err(|problem| problems.push(problem))).collect();
    let peers: Vec<Vec<PeerNet>> = entries.into_iter().collect::<Result<_, ()>>().ok()?;
    let entries = proxies.iter().zip(peers).map(|(proxy, peers)| {
        let nets = peers.iter().filter_map(|peer| if let PeerNet::Net(net) = peer { Some(*net) } else { None });
        (manner(proxy), nets.collect(), peers.contains(&PeerNet::Unix))
    });
    let told = Trust::new(entries).map_err(|overlap| {
        let proxy = &proxies[usize::from(overlap.second)];
        problems.push(proxy.at.problem(key(proxy), format!("{} overlaps: {overlap}", key(proxy))));
    });
    told.ok()
}

/// The files that [`trust`] reads.
pub fn trust_files(document: &Document) -> impl Iterator<Item = &PathBuf> {
    document.client.proxies.iter().filter_map(|proxy| proxy.file.as_ref())
}

fn key(proxy: &ClientProxy) -> &'static str {
    if proxy.file.is_some() { "file" } else { "cidrs" }
}

fn manner(proxy: &ClientProxy) -> Manner {
    Manner {
        header: proxy.header.to_ascii_lowercase().into(),
        mode: proxy.mode,
        on_missing: proxy.on_missing,
        on_invalid: proxy.on_invalid,
    }
}

fn peers(proxy: &ClientProxy) -> Result<Vec<PeerNet>, Problem> {
    match &proxy.file {
        Some(path) => {
            read(path, PEERS).map_err(|why| proxy.at.problem("file", format!("file = {}: {why}", path.display())))
        }
        None => Ok(proxy.cidrs.clone()),
    }
}

/// Reads a file of addresses and CIDRs, one on each line.
///
/// # Errors
/// What is wrong with it, with the line.
pub fn read<T: FromText>(path: &Path, bounds: Bounds) -> Result<Vec<T>, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(bounds.octets + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > bounds.octets {
        return Err(format!("is larger than {} MiB", bounds.octets >> 20));
    }
    parse(&text, bounds.entries)
}

fn parse<T: FromText>(text: &str, entries_max: usize) -> Result<Vec<T>, String> {
    let mut entries = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        if entries.len() == entries_max {
            return Err(format!("has more than {entries_max} entries"));
        }
        entries.push(T::from_text(entry).map_err(|why| format!("line {number}: {why}"))?);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Trust, Problems> {
        let document = crate::config::parse(&format!("version = 1\n{text}"), "weir.toml")?;
        let mut problems = Problems::new();
        trust(&document, &mut problems).ok_or(problems)
    }

    fn told(text: &str) -> String {
        table(text).expect_err("a problem").to_string()
    }

    #[test]
    fn lines_hold_peers_and_comments() {
        let read = parse::<PeerNet>("# ours\n10.0.0.0/8\n\n  2001:db8::1  # one\nunix\n", 3).expect("a list");
        let nets = ["10.0.0.0/8", "2001:db8::1/128"].map(|net| PeerNet::Net(net.parse().expect("a network")));
        assert_eq!(read, [nets[0], nets[1], PeerNet::Unix]);
        assert!(parse::<PeerNet>("::1\nten\n", 3).expect_err("no address").starts_with("line 2: must be"));
        assert_eq!(parse::<PeerNet>(&"::1\n".repeat(4), 3).expect_err("many"), "has more than 3 entries");
    }

    #[test]
    fn peers_come_from_the_document_or_from_a_file() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("peers");
        std::fs::write(&path, "10.0.0.0/8\n").expect("written");
        let text = format!("[[client.proxy]]\nfile = \"{}\"\n[[client.proxy]]\ncidrs = [\"unix\"]", path.display());
        let trust = table(&text).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(trust.trusts("10.1.2.3".parse().ok()) && trust.trusts(None));
        assert!(!trust.trusts("192.0.2.1".parse().ok()));
        std::fs::write(&path, "10.0.0.0/8\nx\n").expect("written");
        assert!(told(&text).contains("line 2"), "{}", told(&text));
        std::fs::remove_file(&path).expect("removed");
        assert!(told(&text).contains("weir.toml:3"), "{}", told(&text));
    }

    #[test]
    fn entries_that_overlap_and_entries_without_peers_are_told() {
        let two = "[[client.proxy]]\ncidrs = [\"10.0.0.0/8\"]\n[[client.proxy]]\ncidrs = [\"10.1.0.0/16\"]";
        assert_eq!(told(two), "weir.toml:5: client, proxy #2: cidrs overlaps: 10.1.0.0/16 is in entry 1 too\n");
        assert!(told("[[client.proxy]]").contains("needs cidrs or a file"));
        assert!(told("[[client.proxy]]\ncidrs = [\"unix\"]\nfile = \"/x\"").contains("both cidrs and a file"));
        assert!(told("[[client.proxy]]\ncidrs = [\"unix\"]\nheader = \"a b\"").contains("not a field name"));
    }
}
