//! The record of explain as people read it.

use std::fmt::Write;

use serde_json::Value;

use super::has_unresolved;
use crate::cli::columns::Columns;
use crate::config::Snapshot;

/// Everything of the record, top down as the request meets it.
pub(super) fn show(snapshot: &Snapshot, record: &Value) -> String {
    let mut text = format!("listener  {}\n", word(&record["listener"]));
    client(&mut text, record);
    paths(&mut text, record);
    rules(&mut text, record);
    routes(&mut text, snapshot, record);
    outcome(&mut text, record);
    endpoints(&mut text, record);
    end(&mut text, record);
    text
}

/// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($format:tt)*) => {
        let _ = writeln!($text, $($format)*);
    };
}

fn client(text: &mut String, record: &Value) {
    let client = &record["client"];
    match word(&client["source"]).as_str() {
        "" => {}
        "peer" => {
            line!(text, "client    {}", word(&client["ip"]));
        }
        "header" => {
            line!(text, "client    {}, as the trusted proxy {} says", word(&client["ip"]), word(&client["peer"]));
        }
        _ if client["trusted_peer"] == true => {
            line!(text, "client    unknown: the trusted proxy {} does not say", word(&client["peer"]));
        }
        source => {
            line!(text, "client    {source}");
        }
    }
}

fn paths(text: &mut String, record: &Value) {
    let (path, route_path) = (word(&record["paths"]["path"]), word(&record["paths"]["route_path"]));
    if path.is_empty() {
        return;
    }
    let routed = if path == route_path { String::new() } else { format!(", routed as {route_path}") };
    line!(text, "path      {path}{routed}");
}

fn rules(text: &mut String, record: &Value) {
    let ban = &record["ban"];
    if !ban.is_null() {
        line!(text, "banned    {} {}", word(&ban["cidr"]), word(&ban["reason"]));
    }
    let Some(rows) = record["considered"].as_array().filter(|rows| !rows.is_empty()) else { return };
    let mut columns = Columns::new(["rule", "of", "mode", "verdict", "predicate", "expected", "actual"]);
    for row in rows {
        let keys = ["rule", "layer", "mode", "verdict", "predicate", "expected", "actual"];
        columns.row(keys.map(|key| word(&row[key])));
    }
    line!(text, "\n{columns}");
}

fn routes(text: &mut String, snapshot: &Snapshot, record: &Value) {
    let Some(rows) = record["routes"].as_array() else { return };
    let mut columns = Columns::new(["route", "name", "priority", "verdict", "predicate", "expected", "actual"]);
    for row in rows {
        let route = snapshot.document.routes.iter().find(|route| row["id"] == route.id);
        let name = route.map(|route| route.name.clone()).unwrap_or_default();
        let [id, priority, verdict] = ["id", "priority", "verdict"].map(|key| word(&row[key]));
        let [predicate, expected, actual] = ["predicate", "expected", "actual"].map(|key| word(&row[key]));
        columns.row([id, name, priority, verdict, predicate, expected, actual]);
    }
    line!(text, "\n{columns}");
    if let Some(found) = record.get("disagreement") {
        line!(text, "defect    the index finds route {} instead: please report it", word(found));
    }
}

fn outcome(text: &mut String, record: &Value) {
    let route = &record["route"];
    if !route.is_null() {
        line!(text, "winner    route {} ({})", word(&route["id"]), word(&route["name"]));
    }
    let redirect = &record["redirect"];
    if !redirect.is_null() {
        line!(text, "redirect  {} to {}", word(&redirect["status"]), word(&redirect["location"]));
    }
    if let Some(path) = record["rewrite"].as_str() {
        line!(text, "rewrite   the upstream sees {path}");
    }
}

fn endpoints(text: &mut String, record: &Value) {
    let Some(rows) = record["endpoints"].as_array() else { return };
    line!(text, "policy    {}", word(&record["policy"]));
    let group = &record["group"];
    if !group.is_null() {
        line!(text, "group     {} ({})", word(&group["priority_group"]), word(&group["why"]));
    }
    if let Some(side) = record.get("split") {
        line!(text, "split     {}", word(side));
    }
    if let Some(pick) = record.get("pick").filter(|pick| !pick.is_null()) {
        line!(text, "pick      {} {}", word(&pick["target"]), word(&pick["address"]));
    }
    let mut columns =
        Columns::new(["target", "address", "protocol", "group", "weight", "state", "passed over because"]);
    for row in rows {
        let keys = ["target", "address", "protocol", "group", "weight", "state", "skip_reason"];
        columns.row(keys.map(|key| word(&row[key])));
    }
    line!(text, "\n{columns}");
    if has_unresolved(record) {
        line!(text, "note      names are resolved only while weir runs: such targets may be usable there");
    }
}

fn end(text: &mut String, record: &Value) {
    let fault = &record["fault"];
    match (fault.is_null(), record["redirect"].is_null()) {
        (false, _) => {
            let (status, reason) = (word(&fault["status"]), word(&fault["reason"]));
            line!(text, "answer    {status} {reason}: {}", word(&fault["message"]));
        }
        (true, false) => {
            line!(text, "answer    the redirect");
        }
        (true, true) => {
            line!(text, "answer    from a target of the route");
        }
    }
}

/// A value without quotes; nothing for null.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // A quote is as good as any letter here.
        Value::String(text) => text.escape_debug().to_string().replace("\\\"", "\""),
        other => other.to_string(),
    }
}
