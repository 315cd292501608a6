//! Real origins: nginx, Python's http.server, Node.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::dir::Dir;
use crate::ports::Port;
use crate::program::{Running, find, finish};
use crate::wait;

/// A real origin, killed on drop.
pub struct Server {
    port: Port,
    _running: Running,
    _dir: Dir,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// `http://ADDRESS`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    fn started(port: Port, dir: Dir, command: &mut Command) -> Self {
        let running = Running::start(command);
        wait::until(&format!("{command:?} listens"), || TcpStream::connect(port.address()).is_ok());
        Self { port, _running: running, _dir: dir }
    }
}

/// nginx in one process; `locations` go into its server block, files are served from `root`.
#[track_caller]
pub fn nginx(root: &Path, locations: &str) -> Server {
    nginx_speaking("", root, locations)
}

/// The same in HTTP/2 without TLS, and in nothing else.
#[track_caller]
pub fn nginx_h2c(root: &Path, locations: &str) -> Server {
    nginx_speaking("http2", root, locations)
}

/// The same over TLS, with a certificate of an authority that nobody else knows; in HTTP/2 too if `http2`.
#[track_caller]
pub fn nginx_tls(http2: bool, root: &Path, locations: &str) -> Server {
    let own = crate::tls::Authority::new().certify(&["localhost"]);
    let (certificate, key) = (root.join("origin.pem"), root.join("origin.key"));
    std::fs::write(&certificate, own.certificate_pem()).expect("a file");
    std::fs::write(&key, own.key_pem()).expect("a file");
    let files = format!("ssl_certificate {}; ssl_certificate_key {};", certificate.display(), key.display());
    nginx_speaking(if http2 { "ssl http2" } else { "ssl" }, root, &(files + locations))
}

fn nginx_speaking(protocol: &str, root: &Path, locations: &str) -> Server {
    let (port, dir) = (Port::reserve(), Dir::new());
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr warn; worker_rlimit_nofile 16384;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f;\n\
         uwsgi_temp_path u; scgi_temp_path s; client_max_body_size 2g; keepalive_requests 1000000;\n\
         server {{ listen 127.0.0.1:{} {protocol} backlog=8192; root {}; {locations} }} }}\n",
        port.number(),
        root.display()
    );
    let file = dir.write("nginx.conf", config);
    let mut command = Command::new(find("nginx"));
    command.arg("-p").arg(dir.path()).arg("-c").arg(file).args(["-e", "stderr"]);
    Server::started(port, dir, &mut command)
}

/// Python's http.server over the files of `root`; HTTP/1.0 with a close after each response, as it comes.
#[track_caller]
pub fn python(root: &Path) -> Server {
    let (port, dir) = (Port::reserve(), Dir::new());
    let mut command = Command::new(find("python3"));
    command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(root);
    command.arg(port.number().to_string());
    Server::started(port, dir, &mut command)
}

/// Node with the body of `http.createServer((request, response) => { .. })`.
#[track_caller]
pub fn node(handler: &str) -> Server {
    node_speaking("http", handler)
}

/// The same in HTTP/2 without TLS.
#[track_caller]
pub fn node_h2c(handler: &str) -> Server {
    node_speaking("http2", handler)
}

fn node_speaking(module: &str, handler: &str) -> Server {
    let (port, dir) = (Port::reserve(), Dir::new());
    let script = format!(
        "require('{module}').createServer((request, response) => {{ {handler} }}).listen({}, '127.0.0.1');\n",
        port.number()
    );
    let file = dir.write("origin.js", script);
    Server::started(port, dir, Command::new(find("node")).arg(file))
}

/// The Python that Debian's packages of modules belong to, whichever other one is in PATH.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";

/// A script for that Python; its first argument is the address where it must listen.
#[track_caller]
pub fn system_python(script: &str) -> Server {
    let (port, dir) = (Port::reserve(), Dir::new());
    let file = dir.write("server.py", script);
    let mut command = Command::new(SYSTEM_PYTHON);
    command.arg(file).arg(port.address().to_string());
    Server::started(port, dir, &mut command)
}

/// Runs a script to its end, which must be a good one; gives what it wrote.
#[track_caller]
pub fn run_system_python(script: &str, args: &[&str], limit: Duration) -> String {
    let dir = Dir::new();
    let file = dir.write("client.py", script);
    let exit = finish(Command::new(SYSTEM_PYTHON).arg(file).args(args), limit);
    assert_eq!(exit.code, Some(0), "{args:?}\n{}\n{}", exit.stdout, exit.stderr);
    exit.stdout
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::get;

    #[test]
    fn nginx_serves_files() {
        let dir = Dir::new();
        dir.write("a.txt", "hello");
        assert_eq!(get(nginx(dir.path(), "").address(), "/a.txt").text(), "hello");
    }

    #[test]
    fn python_serves_files() {
        let dir = Dir::new();
        dir.write("a.txt", "hello");
        assert_eq!(get(python(dir.path()).address(), "/a.txt").text(), "hello");
    }

    #[test]
    fn node_runs_a_handler() {
        assert_eq!(get(node("response.end(request.url)").address(), "/u").text(), "/u");
    }
}
