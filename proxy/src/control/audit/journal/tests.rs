//! Segments against a plain map; torn lines, full disks, deleted segments.

use std::collections::BTreeMap;

use super::*;

type Lines = BTreeMap<u128, Vec<u8>>;

/// Opens a journal of lines `ID:TEXT`, with what it holds.
fn open(folder: &Path) -> (Journal, Lines) {
    let mut lines = Lines::new();
    let journal = Journal::open(folder.to_owned(), |json| {
        let id = std::str::from_utf8(json).ok()?.split_once(':')?.0.parse().ok()?;
        lines.insert(id, json.to_vec());
        Some(id)
    });
    (journal.expect("a folder that can be read"), lines)
}

fn line(id: u128, text: &str) -> (u128, Vec<u8>) {
    (id, format!("{id}:{text}").into_bytes())
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[test]
fn the_last_line_of_a_finding_counts_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path());
    journal.append(&[line(1, "a"), line(2, "b")]).expect("room");
    journal.append(&[line(1, "c")]).expect("room");
    let (mut again, lines) = open(folder.path());
    assert_eq!(lines.into_values().collect::<Vec<_>>(), [b"1:c".to_vec(), b"2:b".to_vec()]);
    assert_eq!((again.live(), again.bytes()), (journal.live(), journal.bytes()));
    again.append(&[line(3, "d")]).expect("room");
    assert_eq!(segments(folder.path()).len(), 2, "a start begins a segment of its own");
}

#[test]
fn a_tail_torn_at_any_octet_loses_its_line_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path());
    journal.append(&[line(1, "first"), line(2, "second")]).expect("room");
    let path = segments(folder.path()).remove(0);
    let whole = std::fs::read(&path).expect("readable");
    let first = whole.iter().position(|octet| *octet == b'\n').expect("a line") + 1;
    for cut in first..whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("written");
        assert_eq!(open(folder.path()).1.into_keys().collect::<Vec<_>>(), [1], "cut at {cut}");
    }
    for wrong in 0..first - 1 {
        let mut octets = whole.clone();
        octets[wrong] ^= 1;
        std::fs::write(&path, octets).expect("written");
        assert_eq!(open(folder.path()).1.into_keys().collect::<Vec<_>>(), [2], "wrong at {wrong}");
    }
}

#[test]
fn other_files_and_endless_lines_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("notes.txt"), "mine").expect("written");
    std::fs::write(path_of(folder.path(), 3), vec![b'x'; 300_000]).expect("written");
    let (mut journal, lines) = open(folder.path());
    assert!(lines.is_empty());
    journal.append(&[line(1, "a")]).expect("room");
    assert!(path_of(folder.path(), 4).exists() && folder.path().join("notes.txt").exists());
}

#[test]
fn a_failed_append_leaves_whole_lines_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path());
    journal.append(&[line(1, "a")]).expect("room");
    // A file that may only be read refuses as a full disk does.
    journal.open = Some(File::open(&segments(folder.path())[0]).expect("readable"));
    assert!(journal.append(&[line(1, "b"), line(2, "b")]).is_err());
    assert_eq!(open(folder.path()).1.into_values().collect::<Vec<_>>(), [b"1:a".to_vec()]);
    journal.append(&[line(1, "b"), line(2, "b")]).expect("room again");
    assert_eq!(open(folder.path()).1.into_values().collect::<Vec<_>>(), [b"1:b".to_vec(), b"2:b".to_vec()]);
}

#[test]
fn a_model_of_writes_losses_and_restarts_agrees() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, mut model) = open(folder.path());
        journal.segment_max = 200;
        for step in 0..120 {
            match random.u8(0..10) {
                0 => {
                    let (again, lines) = open(folder.path());
                    journal = again;
                    journal.segment_max = 200;
                    assert_eq!(lines, model, "seed {seed}, step {step}");
                }
                1 if !journal.segments.is_empty() => {
                    // Rewritten elsewhere, or gone for good.
                    let oldest = journal.oldest();
                    if random.bool() {
                        let lines: Vec<_> = oldest.iter().map(|id| (*id, model[id].clone())).collect();
                        journal.append(&lines).expect("room");
                    }
                    journal.oldest().iter().for_each(|id| drop(model.remove(id)));
                    journal.drop_oldest().expect("deleted");
                }
                2 => {
                    // A tail that a crash tore.
                    if let Some(path) = segments(folder.path()).last() {
                        let mut file = OpenOptions::new().append(true).open(path).expect("writable");
                        file.write_all(b"00000000 {\"torn").expect("room");
                        journal = open(folder.path()).0;
                        journal.segment_max = 200;
                    }
                }
                _ => {
                    let id = || u128::from(fastrand::Rng::with_seed(random.u64(..)).u8(0..20));
                    let mut ids: Vec<u128> = std::iter::repeat_with(id).take(3).collect();
                    ids.dedup();
                    let lines: Vec<_> = ids.iter().map(|id| line(*id, &format!("{step}"))).collect();
                    journal.append(&lines).expect("room");
                    model.extend(lines);
                }
            }
            let live: usize = model.values().map(|json| json.len() + CHECKSUM + 1).sum();
            assert_eq!(journal.live(), live as u64, "seed {seed}, step {step}");
        }
        assert_eq!(open(folder.path()).1, model, "seed {seed}");
    }
}
