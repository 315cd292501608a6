//! Every key of every table, found from the tables themselves: wrong values are told, defaults and docs agree.

use super::*;
use crate::config::table::Key;

/// A document in which `section` holds `key = value`, and the line of it.
fn with(section: &Section, key: &Key, value: &str) -> (String, u32) {
    let mut lines = section.headers.clone();
    lines.push(format!("{} = {value}", key.name));
    (lines.join("\n"), u32::try_from(lines.len()).unwrap())
}

/// What is said of `key`'s line and names it.
fn said(section: &Section, key: &Key, value: &str) -> Vec<Problem> {
    let (text, line) = with(section, key, value);
    let (_, problems) = read(&text, "weir.toml");
    problems.into_iter().filter(|problem| problem.line == line && problem.message.contains(key.name)).collect()
}

fn all_keys() -> impl Iterator<Item = (Section, &'static Key)> {
    sections().into_iter().flat_map(|section| section.keys().map(move |key| (section.clone(), key)).collect::<Vec<_>>())
}

#[test]
fn wrong_type_is_told_with_key_and_line() {
    let mut keys = 0;
    for (section, key) in all_keys() {
        // No key takes a date.
        assert!(!said(&section, key, "1979-05-27").is_empty(), "{} {}", section.path, key.name);
        keys += 1;
    }
    assert!(keys > 150, "{keys}");
}

#[test]
fn value_above_its_range_is_told_with_the_range() {
    let ranged = all_keys().filter_map(|(section, key)| Some((section, key, key.range?)));
    for (section, key, range) in ranged {
        let kind = (key.kind)();
        let above = match range.high.trim_matches('"').replace('_', "").parse::<i64>() {
            Ok(octets) if kind.contains("a string") => {
                format!("\"{}\"", "x".repeat(usize::try_from(octets).unwrap() + 1))
            }
            Ok(number) => (number + 1).to_string(),
            Err(_) if kind.contains("size") => "\"9999TiB\"".to_owned(),
            Err(_) => "\"9999d\"".to_owned(),
        };
        let value = match kind.as_str() {
            list if list.starts_with("a list") => format!("[{above}]"),
            table if table.starts_with("a table of names") => format!("{{ x = {above} }}"),
            _ => above,
        };
        let told = said(&section, key, &value);
        let told = told.iter().find(|problem| problem.code == Code::OutOfRange);
        let told = told.unwrap_or_else(|| panic!("{} {}: nothing is said of {value:.80}", section.path, key.name));
        assert!(told.message.contains(&range.words()), "{told}");
    }
}

#[test]
fn too_many_elements_are_told_with_the_bound() {
    let counted = all_keys().filter_map(|(section, key)| Some((section, key, key.count_max?)));
    for (section, key, most) in counted {
        let elements = (0..=most).map(|n| format!("x{n}=1"));
        let value = match (key.kind)().starts_with("a table of names") {
            true => format!("{{ {} }}", elements.collect::<Vec<_>>().join(", ")),
            false => format!("[{}]", "{},".repeat(most + 1)),
        };
        let told = said(&section, key, &value);
        assert!(
            told.iter().any(|problem| problem.message.contains(&format!("at most {most}"))),
            "{} {}",
            section.path,
            key.name
        );
    }
}

#[test]
fn default_written_out_says_the_same_as_none() {
    let mut document = String::new();
    let global =
        sections().into_iter().filter(|section| !section.headers.iter().any(|header| header.starts_with("[[")));
    for section in global {
        document.extend(section.headers.last().map(|header| format!("{header}\n")));
        for (key, default) in section.keys().filter_map(|key| Some((key, key.default?))) {
            document.push_str(&format!("{} = {default}\n", key.name));
        }
    }
    assert_eq!(valid(&document), valid(""));
}

#[test]
fn every_default_is_within_its_own_bounds() {
    for (section, key, default) in all_keys().filter_map(|(section, key)| Some((section, key, key.default?))) {
        let told = said(&section, key, default);
        let own: Vec<_> = told
            .iter()
            .filter(|problem| matches!(problem.code, Code::WrongType | Code::OutOfRange | Code::Invalid))
            .collect();
        // What relates a default to another key is not about the default: those of the full document are related.
        let relation =
            own.iter().all(|problem| problem.message.contains("needs") || problem.message.contains("socket files"));
        assert!(relation, "{} {}: {own:?}", section.path, key.name);
    }
}

#[test]
fn every_key_is_documented() {
    for (section, key) in all_keys() {
        let doc = key.doc.join(" ");
        assert!(doc.trim_end().ends_with('.'), "{} {}: {doc}", section.path, key.name);
        assert!(reference().contains(&format!("\n| `{}` |", key.name)), "{} {}", section.path, key.name);
    }
}

/// `WEIR_WRITE_REFERENCE=1 cargo test -p weir --lib reference` writes the pages of docs/reference anew.
#[test]
fn reference_page_is_current() {
    crate::base::tests::check_reference("config.md", &reference());
}
