//! What is read from files, and what is said where they are of no use.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::tls::testing::{Authority, Made, Word, after};

/// A folder of files, and a document that names them.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn put(&self, name: &str, octets: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), octets).expect("a file");
    }

    fn put_made(&self, name: &str, made: &Made) {
        self.put(&format!("{name}.pem"), &made.chain);
        self.put(&format!("{name}.key"), &made.key);
    }

    /// A listener with these certificates (`name`, more keys) and more keys of `tls`.
    fn document(&self, certificates: &[(&str, &str)], more: &str) -> Document {
        let listed = certificates.iter().map(|(name, more)| {
            let [cert, key] = ["pem", "key"].map(|end| self.path(&format!("{name}.{end}")));
            format!("[[listener.tls.certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n{more}\n")
        });
        let listed: String = listed.collect();
        let text = format!(
            "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"https\"\n[listener.tls]\n{more}\n{listed}"
        );
        super::super::parse(&text.replace("DIR", &self.directory.path().display().to_string()), "weir.toml")
            .unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// What is said of them, and whether they can be used.
    fn told(&self, certificates: &[(&str, &str)], more: &str) -> (bool, String) {
        let mut problems = Problems::new();
        let shown = Shown::read(&self.document(certificates, more), &Kept::default(), &mut problems);
        (shown.is_some(), problems.to_string())
    }
}

#[test]
fn each_useless_file_is_told_with_its_key() {
    let (bench, authority) = (Bench::new(), Authority::new("ca"));
    bench.put_made("a", &authority.issue(&["a.test"]));
    bench.put_made("b", &authority.issue(&["b.test"]));
    bench.put_made("bare", &authority.issue(&["192.0.2.1"]));
    bench.put("ca.pem", authority.pem());
    bench.put("crl.pem", authority.revoked(&[], 3600));
    bench.put("junk", "junk");
    bench.put("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    bench.put("torn.key", authority.issue(&["a.test"]).key);
    bench.put("mixed.pem", authority.issue(&["a.test"]).chain);
    bench.put("mixed.key", authority.issue(&["a.test"]).key);
    let asks = |keys: &str| format!("client_auth = \"require\"\n{keys}");
    let cases: &[(&str, &str, &str, &str)] = &[
        ("none", "", "", "cert cannot be read"),
        ("torn", "", "", "cert certificate 1 in it is none"),
        ("mixed", "", "", "key is not the key of the certificate"),
        ("a", "names = [\"a.test\", \"c.test\"]", "", "names has \"c.test\", which the certificate does not cover"),
        ("a", "names = [\"*.a.test\"]", "", "names has \"*.a.test\", which the certificate does not cover"),
        ("bare", "", "", "cert has no DNS name and is not default_certificate"),
        ("a", &asks("client_ca = \"DIR/none\""), "", "client_ca cannot be read"),
        ("a", &asks("client_ca = \"DIR/junk\""), "", "client_ca holds no certificate"),
        ("a", &asks("client_ca = \"DIR/torn.pem\""), "", "client_ca certificate 1 in it is none"),
        (
            "a",
            &asks("client_ca = \"DIR/ca.pem\"\nclient_crl = \"DIR/junk\""),
            "",
            "client_crl holds no revocation list",
        ),
        ("a", &asks("client_ca = \"DIR/ca.pem\"\nclient_crl = \"DIR/none\""), "", "client_crl cannot be read"),
        (
            "a",
            "",
            "default_certificate = \"b.test\"",
            "default_certificate = \"b.test\" is no certificate's name or cert",
        ),
    ];
    for (name, keys, more, expected) in cases {
        let (usable, told) = bench.told(&[(name, keys)], more);
        assert!(!usable && told.contains(expected), "{name} {keys} {more}: {told}");
        assert!(told.starts_with("weir.toml:"), "{told}");
    }
    let (usable, told) = bench.told(&[("a", ""), ("b", "")], "default_certificate = \"b.test\"");
    assert!(usable, "{told}");
    let by_file = format!("default_certificate = \"{}\"", bench.path("bare.pem"));
    assert_eq!(bench.told(&[("a", ""), ("bare", "")], &by_file), (true, String::new()));
    let both = asks("client_ca = \"DIR/ca.pem\"\nclient_crl = \"DIR/crl.pem\"");
    assert_eq!(bench.told(&[("a", &both)], ""), (true, String::new()));
}

#[test]
fn certificate_that_is_out_of_date_is_warned_of() {
    let (bench, authority) = (Bench::new(), Authority::new("ca"));
    for (left, expected) in [(-60, "warning: listener web, certificates"), (91 * 86_400, "cert is not valid yet")] {
        bench.put_made("a", &authority.issue_for(&["a.test"], 1, left));
        let (usable, told) = bench.told(&[("a", "")], "");
        assert!(usable && told.contains(expected) && told.contains("cert is not valid"), "{told}");
    }
}

#[test]
fn keys_that_contradict_each_other_are_told() {
    let text = |protocol: &str, tls: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"{protocol}\"\n{more}\n{tls}\n\
             certificates = [{{cert = \"/c\", key = \"/k\", KEYS}}]\n"
        )
    };
    let told = |text: &str| super::super::parse(text, "weir.toml").expect_err("a problem").to_string();
    let https = |keys: &str| text("https", "[listener.tls]", "").replace("KEYS", keys);
    for (document, expected) in [
        (text("http", "[listener.tls]", "").replace(", KEYS", ""), "tls needs protocol = \"https\""),
        (text("http", "[listener.tls]", "sni_check = \"off\"").replace(", KEYS", ""), "sni_check needs protocol"),
        (https("client_auth = \"require\""), "client_auth = \"require\" needs a client_ca"),
        (https("client_ca = \"/x\""), "client_ca needs client_auth"),
        (https("client_crl = \"/x\""), "client_crl needs client_auth"),
        (https("names = [\"a.*.test\"]"), "names: bad host pattern"),
        (https("names = [\"*\"]"), "names: \"*\" is no name that clients ask for"),
        (https("client_auth = \"maybe\""), "client_auth = \"maybe\" is unknown"),
        (https("sni = 1"), "unknown key \"sni\""),
        (text("https", "[listener.tls]\nalpn = []", "").replace(", KEYS", ""), "tls.alpn = [] needs a protocol"),
        (
            text("https", "[listener.tls]\nalpn = [\"h2\", \"h2\"]", "").replace(", KEYS", ""),
            "tls.alpn has \"h2\" twice",
        ),
        (text("https", "[listener.tls]\nmin_version = \"1.1\"", "").replace(", KEYS", ""), "tls.min_version"),
        (text("https", "[listener.tls]\nticket_rotation = \"1m\"", "").replace(", KEYS", ""), "tls.ticket_rotation"),
        (text("https", "[listener.tls]\nhandshakes_max = 0", "").replace(", KEYS", ""), "tls.handshakes_max"),
        (text("https", "[listener.tls]\nunknown_sni = \"drop\"", "").replace(", KEYS", ""), "tls.unknown_sni"),
    ] {
        let told = told(&document);
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn unfit_ocsp_response_is_left_out_and_counted() {
    let (bench, authority) = (Bench::new(), Authority::new("ca"));
    bench.put_made("a", &authority.issue(&["a.test"]));
    let document = bench.document(&[("a", "ocsp = \"DIR/ocsp\"")], "");
    let kept = Kept::default();
    let read = || {
        let mut problems = Problems::new();
        let shown = Shown::read(&document, &kept, &mut problems).expect("a store");
        let certificate = shown.stores.of("web").expect("the listener").offers()[0].certificate.clone();
        (certificate.unstapled(unix_now()).is_none(), problems)
    };
    let count = |why| kept.unstapled().find(|(one, _)| *one == why).expect("each").1;

    let (_, problems) = read();
    assert!(!problems.is_fatal() && problems.to_string().contains("ocsp cannot be read"), "{problems}");
    assert_eq!(count(Unfit::Unreadable), 1);
    bench.put("ocsp", authority.says(Word::Revoked, 7, after(-60), Some(after(60))));
    assert!(read().1.to_string().contains("revoked"));
    bench.put("ocsp", authority.says(Word::Good, 7, after(60), Some(after(120))));
    let (stapled, problems) = read();
    assert!(!stapled && problems.to_string().contains("not valid yet"));
    assert_eq!((count(Unfit::Revoked), count(Unfit::Early)), (1, 1));
    bench.put("ocsp", authority.says(Word::Good, 7, after(-60), Some(after(60))));
    let (stapled, problems) = read();
    assert!(stapled && problems.is_empty(), "{problems}");
}

#[test]
fn listener_whose_files_are_bad_keeps_what_it_showed_and_others_go_on() {
    let (bench, authority) = (Bench::new(), Authority::new("ca"));
    bench.put_made("a", &authority.issue(&["a.test"]));
    bench.put_made("b", &authority.issue(&["b.test"]));
    let of = |name: &str| {
        let [cert, key] = ["pem", "key"].map(|end| bench.path(&format!("{name}.{end}")));
        format!(
            "[[listener]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\nprotocol = \"https\"\n\
             tls.certificates = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n"
        )
    };
    let document = super::super::parse(&(of("a") + &of("b")), "weir.toml").expect("a document");
    let (kept, mut problems) = (Kept::default(), Problems::new());
    let before = Shown::read(&document, &kept, &mut problems).expect("stores");
    bench.put("a.key", authority.issue(&["a.test"]).key);
    bench.put_made("b", &authority.issue(&["b.test", "c.test"]));
    let after = before.read_again(&document, &kept, &mut problems).expect("stores");
    let of = |shown: &Shown, name: &str| shown.stores.of(name).expect("the listener").clone();
    assert!(Arc::ptr_eq(&of(&before, "a"), &of(&after, "a")));
    assert!(of(&after, "b").offers()[0].names.covers("c.test"));
    assert_ne!(before.stamps, after.stamps);
    assert_eq!(
        problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(),
        ["listener[0].tls.certificates[0].key"]
    );
}

#[test]
fn checking_a_document_makes_no_key_log() {
    let bench = Bench::new();
    let document = bench.document(&[], "keylog = \"DIR/keys\"");
    let read = |kept: &Kept| Shown::read(&document, kept, &mut Problems::new()).map(|_| ());
    read(&Kept::default()).expect("a store");
    assert!(!Path::new(&bench.path("keys")).exists());
    read(&Kept::serving()).expect("a store");
    let mode = std::fs::metadata(bench.path("keys")).expect("a key log").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn listeners_without_tls_and_disabled_ones_have_no_store() {
    let text = "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:0\"\n\
                [[listener]]\nname = \"b\"\nenabled = false\nprotocol = \"https\"\nbind = \"127.0.0.1:0\"\n\
                tls.certificates = [{ cert = \"/none\", key = \"/none\" }]\n\
                [[listener]]\nname = \"c\"\nprotocol = \"https\"\nbind = \"127.0.0.1:0\"\n";
    let document = super::super::parse(text, "weir.toml").expect("a document");
    let shown = Shown::read(&document, &Kept::default(), &mut Problems::new()).expect("stores");
    assert_eq!(shown.stores.all().map(|(name, _)| &**name).collect::<Vec<_>>(), ["c"]);
    assert!(shown.stores.of("c").is_some_and(|store| store.is_makeshift()));
}
