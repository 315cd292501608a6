//! The demo's document, and what there is to try with it.

use std::net::SocketAddr;
use std::path::Path;

use super::origins::Origins;

/// One thing to try.
pub(super) struct Try {
    pub(super) path: &'static str,
    pub(super) shows: &'static str,
}

/// From the simplest on. The page, the greeting and the background traffic follow it.
pub(super) const TRIES: &[Try] = &[
    Try { path: "/hello", shows: "two origins take turns" },
    Try { path: "/app/users?id=7", shows: "a rewrite: the origin sees /users?id=7" },
    Try { path: "/old/page", shows: "a redirect to /hello/page" },
    Try { path: "/slow", shows: "an origin that takes 300 ms" },
    Try { path: "/bytes/100000", shows: "a longer answer" },
    Try { path: "/spare", shows: "the main target is down: once probes notice, the spare serves" },
    Try { path: "/down", shows: "nobody listens there: weir's own error, with its reason" },
    Try { path: "/", shows: "a static page" },
];

/// The whole document.
pub(super) fn text(listen: SocketAddr, management: SocketAddr, origins: &Origins, state: &Path) -> String {
    let Origins { a, b, down, .. } = origins;
    let target = |name: &str, at: &SocketAddr| format!("[[route.target]]\nname = \"{name}\"\nurl = \"http://{at}\"\n");
    let route = |name: &str, prefix: &str| {
        format!("\n[[route]]\nname = \"{name}\"\nlistener = \"web\"\npath_prefix = \"{prefix}\"\n")
    };
    let probed = "health = { path = \"/\", interval = \"1s\", timeout = \"500ms\" }\n";
    [
        // One worker, so that two origins visibly take turns: each worker counts its own.
        "# The document of `weir demo`.\nversion = 1\nworkers = 1\nupgrade_socket = \"\"\n".to_owned(),
        format!("\n[management]\nlisten = [\"{management}\"]\n\n[node]\nstate_dir = \"{}\"\n", state.display()),
        "\n[log]\nlevel = \"warn\"\n\n[drain]\ntimeout = \"1s\"\n".to_owned(),
        format!("\n[[listener]]\nname = \"web\"\nbind = \"{listen}\"\n"),
        route("hello", "/hello") + &target("a", a) + &target("b", b),
        route("app", "/app") + "rewrite = { strip_prefix = true }\n" + &target("a", a),
        route("old", "/old") + "action = \"redirect\"\nredirect = { mode = \"same_host_path\", target = \"/hello\" }\n",
        route("slow", "/slow") + &target("a", a),
        route("bytes", "/bytes") + &target("b", b),
        route("spare", "/spare") + probed + &target("main", down) + &target("spare", b) + "priority_group = 1\n",
        route("down", "/down") + &target("nobody", down),
        "\n[[route]]\nname = \"page\"\nlistener = \"web\"\nis_default = true\n[[route.target]]\nname = \"page\"\n\
         static = { headers = { Content-Type = \"text/html; charset=utf-8\" }, template = \"page\" }\n"
            .to_owned(),
        format!("\n[[template]]\nname = \"page\"\nbody = '''\n{}'''\n", page(management)),
    ]
    .concat()
}

fn page(management: SocketAddr) -> String {
    let row = |Try { path, shows }: &Try| format!("<li><a href=\"{path}\"><code>{path}</code></a>: {shows}</li>\n");
    let rows: String = TRIES.iter().map(row).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>weir demo</title>\n\
         <style>body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem }}</style>\n\
         <h1>weir demo</h1>\n<p>What to try:</p>\n<ul>\n{rows}</ul>\n\
         <p>What weir says of it: <a href=\"http://{management}/api/v1/stats\">counters</a>,\n\
         <a href=\"http://{management}/api/v1/routes\">routes and their targets</a>,\n\
         <a href=\"http://{management}/ready\">readiness</a>.</p>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tls::Kept;
    use crate::config::{Environment, Problems, Snapshot};
    use crate::policy::limit::Tables;

    #[tokio::test]
    async fn document_is_valid_without_a_warning() {
        let origins = Origins::start().await.unwrap_or_else(|error| panic!("{error}"));
        let text = text(([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 1], 9900).into(), &origins, Path::new("/state"));
        let document = crate::config::parse(&text, "weir.toml").unwrap_or_else(|problems| panic!("{problems}{text}"));
        let mut problems = Problems::new();
        Snapshot::build(
            document,
            1,
            Environment { sticky_key: &[0; 32], limits: &Tables::default(), tls: &Kept::default() },
            &mut problems,
        );
        assert!(problems.is_empty(), "{problems}");
    }
}
