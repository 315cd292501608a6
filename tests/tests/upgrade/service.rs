//! What the service manager learns: when weir serves, reloads, ends, and which process is the main one.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use weir_tests::{Config, Origin, wait};

/// A service manager that listens.
struct Service {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Service {
    fn new(config: Config) -> (Self, Config) {
        let path = config.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let environment = [format!("NOTIFY_SOCKET={}", path.display()), "WATCHDOG_USEC=400000".to_owned()];
        let command = ["env".to_owned()].into_iter().chain(environment).collect::<Vec<_>>();
        (Self { socket, heard: Vec::new() }, config.under(&command))
    }

    /// Waits for a message with that line; those before are forgotten.
    #[track_caller]
    fn hears(&mut self, line: &str) -> String {
        wait::value(line, || {
            let mut octets = [0; 4096];
            if let Ok(count) = self.socket.recv(&mut octets) {
                self.heard.push(String::from_utf8_lossy(&octets[..count]).into_owned());
            }
            let at = self.heard.iter().position(|message| message.lines().any(|one| one == line))?;
            Some(self.heard.drain(..=at).next_back().expect("a message"))
        })
    }
}

#[test]
fn the_service_manager_is_told_of_everything() {
    let origin = Origin::ok("x");
    let (mut service, config) = Service::new(Config::forwarding(origin.url()).without_kernel());
    let mut weir = config.start();
    let ready = service.hears("READY=1");
    assert!(ready.contains(&format!("MAINPID={}", weir.pid())), "{ready}");
    service.hears("WATCHDOG=1");
    weir.signal(Signal::HUP);
    let reloading = service.hears("RELOADING=1");
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).expect("a time");
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{reloading}");
    service.hears("READY=1");
    weir.reload_text("version = = 1");
    service.hears("RELOADING=1");
    service.hears("READY=1");
    weir.write(&weir.text());
    let new = weir.upgraded(&[]);
    service.hears(&format!("MAINPID={}", new.0));
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    service.heard.clear();
    service.hears("WATCHDOG=1");
    new.signal(Signal::TERM);
    service.hears("STOPPING=1");
    weir.stop_all();
}
