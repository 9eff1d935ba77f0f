//! A server of the tests' own, on the loopback: how it is started, and that it ends with the test, however that ends.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// A server in a folder of its own. It ends when this is dropped, and also when the test's process ends in any way.
pub struct ServerProcess {
    port: u16,
    folder: tempfile::TempDir,
    guard: Child,
    lifeline: Option<ChildStdin>,
}

/// Runs the server, `$0`, until its stdin closes, then kills it with all that it has started: SIGTERM takes SeaweedFS ten seconds.
/// Then the folder, `$1`, goes, and the sockets of its ports, `$2`, which SeaweedFS puts into /tmp. Ctrl-C ends the tests, and so
/// closes stdin.
const GUARD: &str = r#"trap '' INT TERM HUP
folder=$1 ports=$2; shift 2
setsid "$0" "$@" </dev/null >"$folder/log" 2>&1 & server=$!
cat >/dev/null; kill -9 -- -$server $server; wait $server 2>/dev/null; rm -rf "$folder"
for port in $ports; do rm -f /tmp/seaweedfs-*-"$port".sock; done"#;

impl ServerProcess {
    /// Starts a server that needs so many ports, and waits until the first of them answers. `arguments` are made of its ports and
    /// its folder.
    pub fn start(
        server: &Path,
        ports: usize,
        environment: &[(&str, &str)],
        arguments: impl FnOnce(&[u16], &str) -> Vec<String>,
    ) -> ServerProcess {
        let folder = tempfile::Builder::new().prefix("etl-server-").tempdir().unwrap();
        let ports = free_ports(ports);
        let path = folder.path().to_str().unwrap();
        let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        let mut command = Command::new("bash");
        command.args(["-c", GUARD]).arg(server).args([path, &list]).args(arguments(&ports, path));
        command.envs(environment.iter().copied());
        command.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut guard = command.spawn().unwrap();
        let process = ServerProcess { port: ports[0], lifeline: guard.stdin.take(), folder, guard };
        process.wait_until_it_answers();
        process
    }

    fn wait_until_it_answers(&self) {
        let began = Instant::now();
        while !self.answers() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(180), "the server does not start: {log}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// If it answers anything at all in HTTP.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let mut answer = [0; 5];
        let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        asked.and_then(|()| stream.read_exact(&mut answer)).is_ok() && answer == *b"HTTP/"
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }
}

/// Below the ports that the system gives to clients: some of a server's own are bound only seconds later.
fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = std::process::id() as usize * 101;
    let next = || u16::try_from(18_000 + (start + NEXT.fetch_add(1, Ordering::SeqCst)) % 14_000).unwrap();
    std::iter::repeat_with(next).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}
