//! openssl and testssl.sh.

use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::program::{run, succeed};
use weir_tests::{Config, Origin};

use super::stand::{Begun, MINUTE, Stand};

fn secured() -> (Stand, Origin) {
    let origin = Origin::ok("hello");
    (Stand::new(Begun::Agreed, Config::forwarding(origin.url())), origin)
}

/// What s_client says of a handshake with these options.
fn s_client(stand: &Stand, options: &[&str]) -> String {
    let (address, authority) = (stand.weir.web().to_string(), stand.authority());
    let args = ["s_client", "-connect", &address, "-CAfile", &authority, "-servername", "weir.test"];
    // Its input is at its end: it leaves after the handshake.
    let exit = run("openssl", &[&args[..], options].concat(), MINUTE);
    exit.stdout + &exit.stderr
}

#[test]
fn openssl_agrees_on_versions_and_protocols() {
    let (stand, _origin) = secured();
    for (options, expected) in [
        (&["-alpn", "h2,http/1.1"][..], &["TLSv1.3", "ALPN protocol: h2", "Verification: OK"][..]),
        (&["-alpn", "http/1.1"], &["ALPN protocol: http/1.1"]),
        (&["-tls1_2", "-alpn", "h2"], &["TLSv1.2", "ALPN protocol: h2", "ECDHE"]),
        (&[], &["No ALPN negotiated", "Verification: OK"]),
    ] {
        let said = s_client(&stand, options);
        for words in expected {
            assert!(said.contains(words), "{options:?}: no {words:?} in {said}");
        }
    }
    for refused in [&["-alpn", "spdy/3"][..], &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]] {
        let said = s_client(&stand, refused);
        assert!(said.contains("alert") || said.contains("Cipher is (NONE)"), "{refused:?}: {said}");
    }
}

#[test]
fn openssl_resumes_sessions_of_both_versions() {
    let (stand, _origin) = secured();
    let dir = Dir::new();
    for version in ["-tls1_2", "-tls1_3"] {
        let session = dir.join(&format!("session{version}")).display().to_string();
        // The tickets of TLS 1.3 come with the first answer: it must be asked for.
        let address = stand.weir.web().to_string();
        let ask = |more: &str| {
            let ask = format!(
                "(printf 'GET / HTTP/1.1\\r\\nHost: weir.test\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | \
                 openssl s_client -connect {address} -servername weir.test {version} {more} 2>&1"
            );
            succeed("sh", &["-c", &ask], MINUTE)
        };
        let first = ask(&format!("-sess_out {session}"));
        assert!(first.contains("New, TLSv1") && first.contains("hello"), "{first}");
        let second = ask(&format!("-sess_in {session}"));
        assert!(second.contains("Reused, TLSv1") && second.contains("hello"), "{version}: {second}");
    }
}

/// Takes minutes, and opens hundreds of connections one after the other.
mod heavy {
    use super::*;

    #[test]
    fn testssl_finds_nothing_that_is_wrong() {
        let (stand, _origin) = secured();
        let (dir, address) = (Dir::new(), stand.weir.web().to_string());
        let report = dir.join("report.json").display().to_string();
        let args = [
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--ip",
            "127.0.0.1",
            "--add-ca",
            &stand.authority(),
            "-p",
            "-s",
            "-f",
            "-U",
            "--jsonfile",
            &report,
            &address,
        ]
        .map(str::to_owned);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run("testssl", &args, Duration::from_secs(280));
        let text = std::fs::read_to_string(dir.join("report.json")).expect("a report");
        let findings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let findings = findings.as_array().expect("findings");
        let named = |id: &str| findings.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("no {id}: {text}"));
        for absent in ["SSLv2", "SSLv3", "TLS1", "TLS1_1"] {
            assert!(named(absent)["finding"].as_str().is_some_and(|said| said.contains("not offered")), "{text}");
        }
        for offered in ["TLS1_2", "TLS1_3"] {
            assert!(named(offered)["finding"].as_str().is_some_and(|said| said.starts_with("offered")), "{text}");
        }
        let wrong = |one: &&serde_json::Value| {
            ["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"].iter().any(|severity| one["severity"] == *severity)
        };
        let wrong: Vec<_> = findings.iter().filter(wrong).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
