//! Lines of every format, whatever the peer sent.

use std::collections::HashMap;

use super::*;
use crate::base::Reason;
use crate::base::id::RequestId;
use crate::base::metric::Phase;
use crate::trace::Fields;
use crate::trace::field::Field;

struct Headers(HashMap<&'static str, &'static [u8]>);

impl Fields for Headers {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).copied()
    }
}

fn headers(fields: &[(&'static str, &'static [u8])]) -> Headers {
    Headers(fields.iter().copied().collect())
}

fn outcome(headers: &Headers) -> Outcome<'_> {
    let mut outcome = Outcome::new(RequestId::new(1_767_323_045_678, 7), "web", Reason::Ok);
    outcome.start_unix_ns = 1_767_323_045_678_901_000;
    outcome.client_ip = Some([192, 0, 2, 1].into());
    outcome.http_version = Some("1.1");
    outcome.method = Some(b"GET");
    outcome.host = Some(b"app.example.com");
    outcome.path = Some(b"/a\"b");
    outcome.query = Some(b"x=1&token=hidden");
    outcome.headers = headers;
    outcome.status = Some(200);
    outcome.body_out = 512;
    outcome.total = Duration::from_micros(1_234);
    outcome.phases.add(Phase::Wait, Duration::from_micros(900));
    outcome
}

fn line(format: &Format, outcome: &Outcome<'_>) -> String {
    let mut out = Vec::new();
    format.write(outcome, &mut out);
    String::from_utf8(out).expect("a line is text")
}

#[test]
fn json_holds_every_field_once_and_null_for_what_is_absent() {
    let headers = headers(&[]);
    let value: serde_json::Value = serde_json::from_str(&line(&Format::Json, &outcome(&headers))).expect("valid JSON");
    let object = value.as_object().expect("an object");
    for field in Field::ALL {
        let (inside, name) = field.member();
        let holder = inside.map_or(Some(object), |inside| object[inside].as_object()).expect("an object");
        assert!(holder.contains_key(name), "{} is missing", field.token());
    }
    assert_eq!(value["start"], "2026-01-02T03:04:05.678901Z");
    assert_eq!(value["path"], "/a\"b");
    assert_eq!(value["query"], "x=1&token=[redacted]");
    assert_eq!(value["phases_us"]["wait"], 900);
    assert_eq!(value["phases_us"]["total"], 1_234);
    assert!(value["phases_us"]["connect"].is_null() && value["route"].is_null() && value["peer_ip"].is_null());
    assert_eq!(value["request_id"], value["id"]);
}

#[test]
fn json_stays_valid_and_on_one_line_whatever_the_peer_sent() {
    let headers = headers(&[]);
    let mut outcome = outcome(&headers);
    outcome.path = Some(b"/\x1b[31m\"\\\n\xff\xc2\x85<img onerror=x>");
    outcome.host = Some(b"\0");
    let text = line(&Format::Json, &outcome);
    let value: serde_json::Value = serde_json::from_str(&text).expect("valid JSON");
    assert_eq!(value["path"], "/\x1b[31m\"\\\n\u{fffd}\u{85}<img onerror=x>");
    assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
}

#[test]
fn combined_is_what_log_analysers_read() {
    let headers = headers(&[("user-agent", b"curl/8 \"x\""), ("referer", b"https://u:p@r.test/?code=1")]);
    assert_eq!(
        line(&Format::Combined, &outcome(&headers)),
        "192.0.2.1 - - [02/Jan/2026:03:04:05 +0000] \"GET /a\\x22b?x=1&token=[redacted] HTTP/1.1\" 200 512 \
         \"https://[redacted]@r.test/?code=[redacted]\" \"curl/8 \\x22x\\x22\""
    );
    let early = Outcome::new(RequestId::default(), "web", Reason::ClientClosed);
    assert_eq!(line(&Format::Combined, &early), "- - - [01/Jan/1970:00:00:00 +0000] \"-\" - 0 \"-\" \"-\"");
}

#[test]
fn templates_take_fields_headers_and_braces() {
    let format =
        Format::template("{{{status} {req.header.X-Thing} {req.header.Authorization} {route} {phases_us.wait}}")
            .expect("a good template");
    let headers = headers(&[("x-thing", b"a\tb"), ("authorization", b"Basic QQ==")]);
    assert_eq!(line(&format, &outcome(&headers)), "{200 a\\x09b Basic [redacted] - 900}");
}

#[test]
fn a_template_with_an_unknown_field_is_refused_by_name() {
    let error = |text| Format::template(text).err().map(|error| error.to_string());
    assert_eq!(error("{statsu}").as_deref(), Some("unknown field \"statsu\"; nearest: \"status\""));
    assert_eq!(error("{req.header.}").as_deref(), Some("unknown field \"req.header.\""));
    assert_eq!(error("ab {status").as_deref(), Some("the brace at offset 3 is not closed; \"{{\" stands for a brace"));
    assert!(error("a\nb").is_some());
}

#[test]
fn sampling_keeps_its_share_by_the_id_and_errors_and_slow_ones_in_any_case() {
    let headers = headers(&[]);
    let tenth = Selection { sample: 0.1, ..Selection::default() };
    let mut outcome = outcome(&headers);
    let kept = (0..10_000_u128).filter(|n| {
        outcome.id = RequestId(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        tenth.keeps(&outcome)
    });
    assert!((900..1_100).contains(&kept.count()));
    let none = Selection { sample: 0.0, ..Selection::default() };
    assert!(!none.keeps(&outcome));
    outcome.status = Some(502);
    assert!(none.keeps(&outcome) && !Selection { errors: false, ..none }.keeps(&outcome));
    outcome.status = Some(200);
    outcome.total = Duration::from_secs(2);
    assert!(none.keeps(&outcome));
}

#[test]
fn the_reference_page_is_the_table() {
    let mut page = String::from(
        "# Access log\n\n`format = \"json\"` writes all fields, in this order; `phases_us.x` stands for a member of the \
         object\n`phases_us`. A template names them as `{field}`, a request's header field as `{req.header.NAME}`, and \
         writes `{{`\nfor a brace. What is absent is null in JSON and `-` elsewhere. Credentials are withheld: \
         `[redacted]`.\n\n| field | meaning |\n| --- | --- |\n",
    );
    Field::ALL.iter().for_each(|field| page += &format!("| `{}` | {} |\n", field.token(), field.text()));
    crate::base::tests::check_reference("access-log.md", &page);
}
