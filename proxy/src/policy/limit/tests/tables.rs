//! What one generation takes over from another.

use super::*;

/// The name is part of the text: tables go by it.
fn named(text: &str) -> raw::RateLimit {
    raw::RateLimit::from_toml(text).unwrap_or_else(|problems| panic!("{problems}{text}"))
}

const BASE: &str = "name = \"login\"\nlimit = 10\nmatch = { path = { prefix = \"/login\" } }\n";

/// How many of twenty requests pass after a generation with `first`, in which ten passed, was followed by one with
/// `second`.
fn after(first: &str, second: &str) -> usize {
    let tables = Tables::default();
    let before = Limiter::build(&named(first), &tables);
    assert_eq!(admitted(&before, key(1), 0, 20), 10);
    let next = Limiter::build(&named(second), &tables);
    drop(before);
    admitted(&next, key(1), 0, 20)
}

#[test]
fn counts_stay_while_what_they_mean_stays() {
    assert_eq!(after(BASE, BASE), 0);
    for kept in [
        "mode = \"shadow\"",
        "priority = 5",
        "on_full = \"deny\"",
        "headers = \"none\"",
        "idle = \"1h\"",
        "response = { status = 503 }",
        "kernel = { after = 5 }",
        "on_error = \"match\"",
    ] {
        assert_eq!(after(&format!("{BASE}{kept}"), BASE), 0, "{kept} to its default");
        assert_eq!(after(BASE, &format!("{BASE}{kept}")), 0, "to {kept}");
    }
}

#[test]
fn counts_begin_anew_when_what_they_mean_changes() {
    for changed in [
        "when = \"true\"",
        "window = \"61s\"",
        "burst = 10",
        "key = [\"client_ip\", \"host\"]",
        "ipv4_prefix = 24",
        "ipv6_prefix = 56",
        "keys_max = 2048",
        "algorithm = \"fixed_window\"",
        "algorithm = \"sliding_window\"",
    ] {
        assert_eq!(after(BASE, &format!("{BASE}{changed}")), 10, "{changed}");
    }
    assert_eq!(after(BASE, &BASE.replace("10", "11")), 11, "limit");
    assert_eq!(after(BASE, &BASE.replace("prefix = \"/login\"", "equals = \"/login\"")), 10, "match");
    assert_eq!(after(BASE, &BASE.replace("\"login\"", "\"other\"")), 10, "name");
}

#[test]
fn generation_that_is_not_taken_leaves_the_tables_of_the_one_in_use() {
    let tables = Tables::default();
    let used = Limiter::build(&named(BASE), &tables);
    assert_eq!(admitted(&used, key(1), 0, 20), 10);
    drop(Limiter::build(&named(&BASE.replace("10", "12")), &tables));
    assert_eq!(admitted(&Limiter::build(&named(BASE), &tables), key(1), 0, 20), 0);
    drop(used);
    assert_eq!(admitted(&Limiter::build(&named(BASE), &tables), key(1), 0, 20), 10, "the last user took it along");
}
