//! Bans of the API and of files, from the change to the tables that workers get.

use std::net::IpAddr;

use super::*;
use crate::control::testing::{clock, document, snapshot, until};

fn list(state: &Arc<StateDir>) -> (Arc<BanList>, Arc<Facts>) {
    let facts = Arc::new(Facts::new(1));
    (BanList::load(Arc::clone(state), Arc::clone(&facts), clock), facts)
}

/// Has the list kept, and its tables taken as workers would.
fn keep(list: &Arc<BanList>) -> tokio::task::JoinHandle<()> {
    let list = Arc::clone(list);
    tokio::spawn(async move {
        let mut tables = list.tables();
        let taken = async {
            while tables.changed().await.is_ok() {
                list.deliver(list.published());
            }
        };
        tokio::join!(Arc::clone(&list).run(), taken);
    })
}

fn own(cidr: &str, expires: Option<u64>) -> Own {
    Own { cidr: cidr.parse().expect("a CIDR"), reason: "scans".into(), made: unix_s(), expires }
}

fn is_banned(list: &BanList, ip: &str) -> bool {
    let ip: IpAddr = ip.parse().expect("an address");
    list.tables().borrow().lookup(ip, clock()).is_some()
}

#[tokio::test]
async fn a_ban_is_in_force_and_kept_when_the_call_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Arc::new(StateDir::open(Some(folder.path()), None, None).expect("usable"));
    let state = open();
    let (first, _) = list(&state);
    first.adopt(&snapshot(document(""), 1));
    let task = keep(&first);
    assert_eq!(first.put(own("192.0.2.0/24", None)).await, Ok(true));
    assert!(is_banned(&first, "192.0.2.9") && !is_banned(&first, "192.0.3.9"));
    assert_eq!(first.put(own("2001:db8::/32", Some(unix_s() + 3_600))).await, Ok(true));
    task.abort();
    let _ = task.await;
    drop((first, state));

    let (second, _) = list(&open());
    second.adopt(&snapshot(document(""), 1));
    assert!(is_banned(&second, "192.0.2.9") && is_banned(&second, "2001:db8::1"));
    let task = keep(&second);
    let removed = second.remove("192.0.2.0/24".parse().expect("a CIDR")).await;
    assert_eq!(removed.map(|(own, kept)| (own.reason.to_string(), kept)), Some(("scans".to_owned(), true)));
    assert!(second.remove("192.0.2.0/24".parse().expect("a CIDR")).await.is_none());
    assert!(!is_banned(&second, "192.0.2.9") && is_banned(&second, "2001:db8::1"));
    task.abort();
}

#[tokio::test]
async fn without_a_directory_bans_are_in_force_and_not_kept() {
    let (list, _) = list(&Arc::new(StateDir::none("a test")));
    let task = keep(&list);
    assert_eq!(list.put(own("192.0.2.1/32", None)).await, Ok(false));
    assert!(is_banned(&list, "192.0.2.1") && !list.is_kept());
    task.abort();
}

#[tokio::test]
async fn a_ban_ends_by_itself() {
    let (list, _) = list(&Arc::new(StateDir::none("a test")));
    let task = keep(&list);
    list.put(own("192.0.2.1/32", Some(unix_s() + 1))).await.expect("room");
    until(|| list.own().is_empty() && list.tables().borrow().is_empty()).await;
    task.abort();
}

#[tokio::test]
async fn bans_that_end_among_many_make_no_table_and_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = Arc::new(StateDir::open(Some(folder.path()), None, None).expect("usable"));
    let (list, _) = list(&state);
    let task = keep(&list);
    for n in 1..=3 {
        list.put(own(&format!("192.0.2.{n}/32"), None)).await.expect("room");
    }
    list.put(own("192.0.2.4/32", Some(unix_s() + 2))).await.expect("room");
    let (before, mut tables) = (list.tables().borrow().clone(), list.tables());
    let file = || std::fs::read(folder.path().join(FILE)).expect("a file");
    let kept = file();
    tables.changed().await.expect("the list is there");
    assert!(tables.borrow().same(&before), "only the time has changed");
    assert_eq!((list.own().len(), list.counts(), file() == kept), (3, [0, 3], true));
    assert!(!is_banned(&list, "192.0.2.4") && is_banned(&list, "192.0.2.3"));
    task.abort();
}

#[tokio::test]
async fn a_ban_is_answered_once_workers_have_it() {
    let (list, _) = list(&Arc::new(StateDir::none("a test")));
    let task = tokio::spawn(Arc::clone(&list).run());
    let mut tables = list.tables();
    let mut answer = std::pin::pin!(list.put(own("192.0.2.1/32", None)));
    let early = tokio::select! {
        biased;
        _ = &mut answer => true,
        changed = tables.changed() => changed.is_err(),
    };
    assert!(!early, "no worker has it");
    list.deliver(list.published());
    assert_eq!(answer.await, Ok(false));
    task.abort();
}

#[tokio::test]
async fn a_changed_file_is_read_again_and_a_bad_one_leaves_the_old_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bad");
    let write = |text: &str| {
        std::fs::write(folder.path().join("new"), text).expect("written");
        std::fs::rename(folder.path().join("new"), &path).expect("renamed");
    };
    write("192.0.2.0/24\n");
    let (list, facts) = list(&Arc::new(StateDir::none("a test")));
    list.adopt(&snapshot(document(&format!("[[ban]]\nfile = \"{}\"\n", path.display())), 1));
    assert!(is_banned(&list, "192.0.2.1"));
    let task = keep(&list);
    write("198.51.100.0/24\n");
    until(|| is_banned(&list, "198.51.100.1") && !is_banned(&list, "192.0.2.1")).await;
    write("198.51.100.0/24\nnobody\n");
    until(|| facts.warnings().get(STALE).is_some_and(|hint| hint.contains("line 2"))).await;
    assert!(is_banned(&list, "198.51.100.1"));
    write("203.0.113.0/24\n");
    until(|| is_banned(&list, "203.0.113.1")).await;
    assert!(facts.warnings().is_empty());
    task.abort();
}
