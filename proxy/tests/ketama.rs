//! `hash_ketama` beside a running nginx with `hash .. consistent`: every key has to go to the same server.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant as Deadline};

use weir::base::Instant;
use weir::config::{Problems, parse};
use weir::target::groups::{Context, compile};
use weir::target::{Ask, Balancers, Keys, Live, Pick};
use weir::tls::{Authority, Outgoing};

const WEIGHTS: [u32; 3] = [1, 1, 2];
const KEYS: usize = 500;

/// nginx, bounded in time even if this process dies, and ended with the test.
struct Nginx(Child);

impl Nginx {
    fn start(directory: &Path, front: u16, backs: &[u16]) -> Self {
        let servers: String = backs
            .iter()
            .zip(WEIGHTS)
            .map(|(port, weight)| format!("server 127.0.0.1:{port} weight={weight};"))
            .collect();
        let answers: String =
            backs.iter().map(|port| format!("server {{ listen 127.0.0.1:{port}; return 200 \"{port}\"; }}")).collect();
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", directory.display()))
            .concat();
        let config = format!(
            "master_process off; pid nginx.pid; error_log error.log; events {{ worker_connections 256; }}
             http {{ access_log off; keepalive_requests 10000; {temp}
             upstream ring {{ hash $arg_k consistent; {servers} }} {answers}
             server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://ring; }} }} }}"
        );
        std::fs::write(directory.join("nginx.conf"), config).expect("the directory is ours");
        let child = Command::new("timeout")
            .args(["60", "nginx", "-g", "daemon off;", "-c", "nginx.conf", "-e", "error.log", "-p"])
            .arg(directory)
            .stderr(Stdio::null())
            .spawn()
            .expect("timeout and nginx are installed");
        Self(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // timeout passes the signal on; killing it hard would leave nginx behind.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    // Held together, so that they differ.
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    sockets.map(|socket| socket.local_addr().expect("it is bound").port())
}

fn connect(port: u16, nginx: &mut Nginx) -> TcpStream {
    let deadline = Deadline::now() + Duration::from_secs(20);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => {
                assert!(Deadline::now() < deadline, "nginx does not listen: {error}");
                assert!(nginx.0.try_wait().expect("it is our child").is_none(), "nginx ended at once");
                std::thread::yield_now();
            }
        }
    }
}

/// The port of the server that nginx sends the key to.
fn ask_nginx(stream: &mut BufReader<TcpStream>, key: &str) -> u16 {
    // One write: pieces would each wait for the acknowledgement of the one before.
    let head = format!("GET /?k={key} HTTP/1.1\r\nHost: ring\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).expect("nginx reads");
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).expect("nginx answers");
        assert!(!line.is_empty(), "nginx closed");
        if let Some((_, value)) = line.to_ascii_lowercase().split_once("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a whole body");
    String::from_utf8(body).expect("digits").parse().expect("a port")
}

struct Query(String);

impl Keys for Query {
    fn client_ip(&self) -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }
    fn path(&self) -> &[u8] {
        b"/"
    }
    fn uri(&self) -> &[u8] {
        b"/"
    }
    fn host(&self) -> &[u8] {
        b"ring"
    }
    fn header(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn cookie(&self, _: &str, _: usize) -> Option<&[u8]> {
        None
    }
    fn query(&self, name: &str) -> Option<&[u8]> {
        (name == "k").then_some(self.0.as_bytes())
    }
}

fn table(ports: &[u16]) -> Live {
    let targets: String = ports
        .iter()
        .zip(WEIGHTS)
        .map(|(port, weight)| format!("[[route.target]]\nurl = \"http://127.0.0.1:{port}\"\nweight = {weight}\n"))
        .collect();
    let text = format!(
        "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n[[route]]\nid = 1\nlistener = \"web\"\n\
         path_prefix = \"/\"\nbalance = \"hash_ketama\"\nhash_key = \"query:k\"\n{targets}"
    );
    let document = parse(&text, "weir.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let context = Context {
        template: &|_| None,
        secret: &|_| Err(String::new()),
        tls: &|secure| Outgoing::build(secure.host, &Authority::Nobody, None, secure.alpn).map(Arc::new),
        generated_key: b"",
    };
    let mut problems = Problems::new();
    let groups = compile(&document.routes[0], &context, &mut problems).unwrap_or_else(|| panic!("{problems}"));
    Live::initial(&[groups], 1, None, Instant::default())
}

#[test]
fn every_key_goes_where_nginx_sends_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let [front, backs @ ..] = free_ports::<4>();
    let mut nginx = Nginx::start(directory.path(), front, &backs);
    let stream = connect(front, &mut nginx);
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut stream = BufReader::new(stream);

    let live = table(&backs);
    let route = live.route(0).expect("one route");
    let mut balancers = Balancers::new(0, 1, |_| {});
    let mut seen: HashMap<u16, usize> = HashMap::new();
    for key in (0..KEYS).map(|n| format!("user-{}", n * 7919)) {
        let keys = Query(key);
        let balancer = balancers.of(route);
        let choice = balancer.choose(route, &keys, Instant::default()).expect("all are usable");
        let ask = Ask { keys: &keys, choice, now: Instant::default(), unix: 0, exclude: &[], idle: &|_| false };
        let Pick::Endpoint(picked) = balancer.pick(route, &ask) else { panic!("all are usable") };
        let port = picked.address.expect("an origin").port();
        assert_eq!(port, ask_nginx(&mut stream, &keys.0), "key {}", keys.0);
        *seen.entry(port).or_default() += 1;
    }
    assert_eq!(seen.len(), 3, "all servers take part: {seen:?}");
}
