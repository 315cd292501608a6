//! Files that change while weir runs: each way in which they are put there, under load, and files of no use.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use weir_tests::tls::{Authority, Connector, Identity};
use weir_tests::{Client, Config, Origin, Weir, wait};

use super::{ask, entry, findings, fresh, listening, shown, warning};

/// Another file under the same name, at once.
fn replace(path: &Path, content: String) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).and_then(|()| std::fs::rename(&new, path)).expect("a file");
}

fn put(weir: &Weir, identity: &Identity) {
    replace(&weir.path("a.crt"), identity.certificate_pem());
    replace(&weir.path("a.key"), identity.key_pem());
}

/// Waits until every worker shows it.
fn wait_shown(weir: &Weir, identity: &Identity) {
    let expected = identity.der().to_vec();
    wait::until("the other certificate", || (0..8).all(|_| shown(weir, &Connector::to("a.test")) == expected));
}

fn start(origin: &Origin, identity: &Identity, workers: u32) -> Weir {
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "a", identity, "")];
    listening(config, &entries, "", "").workers(workers).without_client_bounds().start()
}

#[test]
fn certificate_is_swapped_under_load_without_a_failed_handshake() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let identities: Vec<_> = (0..6).map(|_| authority.certify(&["a.test"])).collect();
    let weir = start(&origin, &identities[0], 2);
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let pipe = fresh("a.test", &authority).connect(weir.web()).expect("a handshake");
                    assert_eq!(ask(&mut Client::through(pipe), "a.test").status, 200);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // However the swaps end, the load ends.
        let swaps = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for identity in &identities[1..] {
                put(&weir, identity);
                wait_shown(&weir, identity);
            }
        }));
        over.store(true, Ordering::Relaxed);
        swaps.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(done.load(Ordering::Relaxed) > 50, "{done:?}");
    let stats = weir.api("/api/v1/stats");
    assert_eq!((&stats["tls"]["deny"], &stats["generation"]), (&0.into(), &1.into()), "{stats}");
}

#[test]
fn wrong_key_keeps_the_certificate_before_and_is_told_until_it_is_mended() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let [first, second] = [(); 2].map(|()| authority.certify(&["a.test"]));
    let weir = start(&origin, &first, 2);
    replace(&weir.path("a.key"), second.key_pem());
    let hint = wait::value("a warning", || warning(&weir, "TLS_MATERIAL_REJECTED"));
    assert!(hint.contains("a.crt: key is not the key of the certificate"), "{hint}");
    assert_eq!(shown(&weir, &Connector::to("a.test")), first.der().to_vec());
    let found = findings(&weir, "tls_material_rejected");
    let of = |item: &serde_json::Value| (item["rule"].clone(), item["source_group"].clone(), item["action"].clone());
    assert_eq!(found.iter().map(of).collect::<Vec<_>>(), [("key".into(), "web".into(), "enforced".into())]);
    assert!(weir.is_ready());

    for bad in ["", "junk", &authority.certify(&["b.test"]).certificate_pem()[..200]] {
        replace(&weir.path("a.crt"), bad.to_owned());
        wait::until("the certificate's flaw", || {
            warning(&weir, "TLS_MATERIAL_REJECTED").is_some_and(|hint| hint.contains(": cert "))
        });
        assert_eq!(shown(&weir, &Connector::to("a.test")), first.der().to_vec());
    }
    // A reload that finds it so changes nothing either.
    weir.reload_text(&weir.text());
    wait::until("a refused reload", || warning(&weir, "RELOAD_REFUSED").is_some());
    assert_eq!(shown(&weir, &Connector::to("a.test")), first.der().to_vec());

    std::fs::remove_file(weir.path("a.crt")).expect("a file");
    wait::until("the absence", || {
        warning(&weir, "TLS_MATERIAL_REJECTED").is_some_and(|hint| hint.contains("cert cannot be read"))
    });
    replace(&weir.path("a.crt"), second.certificate_pem());
    wait_shown(&weir, &second);
    wait::until("no warning", || warning(&weir, "TLS_MATERIAL_REJECTED").is_none());
}

#[test]
fn names_that_are_no_longer_covered_keep_the_certificate_before() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let first = authority.certify(&["a.test"]);
    let config = Config::forwarding(origin.url());
    let entries = [entry(&config, "a", &first, "names = [\"a.test\"]")];
    let weir = listening(config, &entries, "", "").start();
    put(&weir, &authority.certify(&["b.test"]));
    wait::until("a warning", || {
        warning(&weir, "TLS_MATERIAL_REJECTED").is_some_and(|hint| hint.contains("names has \"a.test\""))
    });
    assert_eq!(shown(&weir, &Connector::to("a.test")), first.der().to_vec());
}

/// A mounted secret: files lead through one link to a folder of this version; the link is renamed over.
#[test]
fn files_behind_a_link_that_is_swapped_are_read_again() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let [first, second] = [(); 2].map(|()| authority.certify(&["a.test"]));
    let config = Config::forwarding(origin.url());
    for (version, identity) in [("1", &first), ("2", &second)] {
        config.file(&format!("..{version}/a.crt"), identity.certificate_pem());
        config.file(&format!("..{version}/a.key"), identity.key_pem());
    }
    let marker = config.file("marker", "");
    let root = Path::new(&marker).parent().expect("a folder").to_owned();
    symlink("..1", root.join("..data")).expect("a link");
    for name in ["a.crt", "a.key"] {
        symlink(Path::new("..data").join(name), root.join(name)).expect("a link");
    }
    let [cert, key] = ["a.crt", "a.key"].map(|name| root.join(name).display().to_string());
    let weir = listening(config, &[format!("{{ cert = \"{cert}\", key = \"{key}\" }}")], "", "").workers(2).start();
    wait_shown(&weir, &first);
    symlink("..2", root.join("..tmp"))
        .and_then(|()| std::fs::rename(root.join("..tmp"), root.join("..data")))
        .expect("a link");
    wait_shown(&weir, &second);
    // And as certbot does: each link by itself is made anew, to a file elsewhere.
    let third = authority.certify(&["a.test"]);
    for (name, content) in [("a.crt", third.certificate_pem()), ("a.key", third.key_pem())] {
        std::fs::create_dir_all(root.join("archive")).expect("a folder");
        std::fs::write(root.join("archive").join(name), content).expect("a file");
        std::fs::remove_file(root.join(name)).expect("the link");
        symlink(Path::new("archive").join(name), root.join(name)).expect("a link");
    }
    wait_shown(&weir, &third);
    assert_eq!(weir.generation(), 1);
}

#[test]
fn reload_reads_files_and_goes_on_resuming() {
    let (origin, authority) = (Origin::ok("x"), Authority::new());
    let first = authority.certify(&["a.test"]);
    let mut weir = start(&origin, &first, 1);
    let connector = Connector::to("a.test").trusting(&authority);
    let resumed = |weir: &Weir| {
        let mut client = weir.client_tls(&connector);
        assert_eq!(ask(&mut client, "a.test").status, 200);
        client.pipe().session().expect("TLS").resumed
    };
    assert!(!resumed(&weir) && resumed(&weir));
    weir.reload(|config| config.tables("[timeouts]\nlinger = \"3s\""));
    assert!(resumed(&weir));
    let second = authority.certify(&["a.test", "b.test"]);
    put(&weir, &second);
    weir.reload(|config| config.tables("[pool]\nidle_max = 3"));
    assert_eq!(shown(&weir, &Connector::to("a.test")), second.der().to_vec());
}
