//! A PostgreSQL of the test's own, and what stands in for the two things of Redshift that it does not speak: `COPY` from a
//! bucket, and the layout of tables.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// Where the bucket is, for `redshift.url`.
pub const BUCKET: &str = "s3://bucket/etl/output";

/// A server in a folder of its own, on the loopback. It ends with the test.
pub struct Postgres {
    bin: PathBuf,
    folder: PathBuf,
    server: Child,
    pub port: u16,
}

/// A command as a user that PostgreSQL is content with: it does not run as root.
fn unprivileged(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.starts_with(b"0\n"));
    let mut command;
    if is_root {
        command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Postgres {
    /// Starts one; `settings` are further lines of its configuration, `files` are put into its folder.
    pub fn start(bin: &Path, settings: &str, files: &[(&str, Vec<u8>)]) -> Postgres {
        let made = unprivileged(Path::new("mktemp")).args(["-d", "/tmp/etl-postgres-XXXXXX"]).output().unwrap();
        let folder = PathBuf::from(String::from_utf8(made.stdout).unwrap().trim());
        let data = folder.join("data");
        let made = unprivileged(&bin.join("initdb"))
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        for (name, content) in files {
            let mut put = unprivileged(Path::new("sh"));
            put.args(["-c", "umask 077; cat > \"$0\""]).arg(data.join(name)).stdin(Stdio::piped());
            let mut put = put.spawn().unwrap();
            put.stdin.take().unwrap().write_all(content).unwrap();
            assert!(put.wait().unwrap().success());
        }
        let port = free_port();
        let mut command = unprivileged(&bin.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
        for setting in settings.lines() {
            command.args(["-c", setting]);
        }
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let postgres = Postgres { bin: bin.to_owned(), folder, server, port };
        let began = Instant::now();
        while postgres.psql("SELECT 1").is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "PostgreSQL does not start");
            thread::sleep(Duration::from_millis(50));
        }
        postgres
    }

    fn psql(&self, sql: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let output = unprivileged(&self.bin.join("psql"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-p", &port, "-c", sql])
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The rows of a query, sorted by the query.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.psql(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).lines().map(str::to_owned).collect()
    }

    /// Listens where a Redshift would, for a layer at `output`.
    pub fn as_redshift(&self, output: PathBuf, fault: Fault) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay { port: listener.local_addr().unwrap().port(), statements: Arc::default() };
        let (server, statements) = (self.port, relay.statements.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
                // Messages are small: without this, each waits for the acknowledgement of the one before.
                client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).unwrap();
                let session = Session { client, server, output: output.clone(), fault, statements: statements.clone() };
                thread::spawn(move || session.relay());
            }
        });
        relay
    }

    /// A session that holds this lock until it is dropped.
    pub fn locked(&self, table: &str) -> Locked {
        let mut psql = unprivileged(&self.bin.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-At", "-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut session = psql.spawn().unwrap();
        let statements = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 1;\n");
        session.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
        let (began, held) =
            (Instant::now(), "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = ");
        while self.query(&format!("{held}'{table}'::regclass")) != ["1"] {
            assert!(began.elapsed() < Duration::from_secs(20), "{table} is not locked");
            thread::sleep(Duration::from_millis(20));
        }
        Locked { session }
    }

    /// Waits until a statement that begins so waits for a lock.
    pub fn wait_for_blocked(&self, beginning: &str) {
        let began = Instant::now();
        let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND starts_with(query, '{beginning}')");
        while self.query(&waits) != ["1"] {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing waits for a lock");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a script as `psql -v ON_ERROR_STOP=1` does, over this port.
    pub fn script(&self, port: u16, sql: &str) -> Result<(), String> {
        let mut psql = unprivileged(&self.bin.join("psql"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-p", &port.to_string()])
            .env("PGSSLMODE", "disable")
            .env("PGGSSENCMODE", "disable")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut session = psql.spawn().unwrap();
        session.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = session.wait_with_output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// What goes wrong on the way to the warehouse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// The connection breaks after the server got COMMIT, before its answer.
    AnswerToCommitLost,
    /// The connection breaks before the server gets COMMIT.
    CommitLost,
}

/// The stand-in for a Redshift.
pub struct Relay {
    pub port: u16,
    statements: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// The `COPY` statements since this was asked last.
    pub fn copies(&self) -> Vec<String> {
        let statements = std::mem::take(&mut *self.statements.lock().unwrap());
        statements.into_iter().filter(|sql| sql.starts_with("COPY ")).collect()
    }
}

/// A session that holds a lock.
pub struct Locked {
    session: Child,
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.session.stdin.take());
        let _ = self.session.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = self.server.id().to_string();
        // `setpriv` has become the server: an immediate shutdown, and no core is lost by it.
        let _ = Command::new("kill").args(["-QUIT", &pid]).status();
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One session: each query goes on to the server, but for those that only Redshift speaks.
struct Session {
    client: TcpStream,
    server: TcpStream,
    output: PathBuf,
    fault: Fault,
    statements: Arc<Mutex<Vec<String>>>,
}

/// The code of a request to cancel, where the version of the protocol stands.
const CANCEL_REQUEST: [u8; 4] = 80_877_102_u32.to_be_bytes();

type Message = (u8, Vec<u8>);

fn read(stream: &mut TcpStream) -> Option<Message> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4];
    stream.read_exact(&mut body).ok()?;
    Some((head[0], body))
}

fn write(stream: &mut TcpStream, (kind, body): &Message) {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let _ = stream.write_all(&[&[*kind][..], &length, body].concat());
}

fn query(sql: &str) -> Message {
    (b'Q', [sql.as_bytes(), b"\0"].concat())
}

impl Session {
    fn relay(mut self) {
        let mut length = [0; 4];
        self.client.read_exact(&mut length).unwrap();
        let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
        self.client.read_exact(&mut startup).unwrap();
        self.server.write_all(&[&length[..], &startup].concat()).unwrap();
        self.answer();
        if startup.starts_with(&CANCEL_REQUEST) {
            return;
        }
        while let Some(message) = read(&mut self.client) {
            if message.0 != b'Q' {
                write(&mut self.server, &message);
                continue;
            }
            let sql = String::from_utf8(message.1).unwrap().trim_end_matches('\0').to_owned();
            self.statements.lock().unwrap().push(sql.clone());
            match self.fault {
                Fault::CommitLost if sql == "COMMIT" => return,
                Fault::AnswerToCommitLost if sql == "COMMIT" => {
                    write(&mut self.server, &query(&sql));
                    while read(&mut self.server).is_some_and(|message| message.0 != b'Z') {}
                    return;
                }
                _ => {}
            }
            if sql.starts_with("COPY ") {
                self.copy(&sql);
            } else {
                // Distribution and sort keys stand behind the columns of a table.
                let portable = if sql.starts_with("CREATE TABLE") { &sql[..sql.rfind("\n)").unwrap() + 2] } else { &sql[..] };
                assert!(portable.len() == sql.len() || sql.contains("DISTKEY (") || sql.contains("DISTSTYLE ALL"), "{sql}");
                write(&mut self.server, &query(portable));
                self.answer();
            }
        }
    }

    /// Hands on what the server says until it is ready.
    fn answer(&mut self) {
        while let Some(message) = read(&mut self.server) {
            write(&mut self.client, &message);
            if message.0 == b'Z' {
                return;
            }
        }
    }

    /// `COPY table (columns) FROM 's3://...' ...`, from the files of the layer: one by one, as each has a header.
    fn copy(&mut self, sql: &str) {
        let (head, tail) = sql.split_once(" FROM '").unwrap();
        let (url, options) = tail.split_once("' ").unwrap();
        for option in [
            "IAM_ROLE ",
            " FORMAT AS CSV ",
            "DELIMITER ','",
            "IGNOREHEADER 1",
            "TIMEFORMAT 'auto'",
            "EMPTYASNULL",
            " COMPUPDATE OFF STATUPDATE OFF",
        ] {
            assert!(options.contains(option) || options.starts_with(option.trim_start()), "{option}: {sql}");
        }
        let files = match self.files(url, options.trim_end_matches(';').ends_with(" MANIFEST")) {
            Ok(files) => files,
            Err(detail) => return self.refuse(&detail),
        };
        for file in files {
            write(&mut self.server, &query(&format!("{head} FROM STDIN WITH (FORMAT csv, HEADER)")));
            let mut failed = None;
            while let Some(message) = read(&mut self.server) {
                match message.0 {
                    b'G' => {
                        write(&mut self.server, &(b'd', std::fs::read(&file).unwrap()));
                        write(&mut self.server, &(b'c', Vec::new()));
                    }
                    b'E' => failed = Some(message),
                    b'Z' => {
                        if let Some(error) = failed.take() {
                            write(&mut self.client, &error);
                            write(&mut self.client, &message);
                            return;
                        }
                        break;
                    }
                    _ => {}
                }
            }
        }
        write(&mut self.client, &(b'C', b"COPY\0".to_vec()));
        write(&mut self.client, &(b'Z', b"T".to_vec()));
    }

    /// As S3 gives them: those of the manifest, which must be there and be as large as it says; or all whose names begin so.
    fn files(&self, url: &str, is_manifest: bool) -> Result<Vec<PathBuf>, String> {
        let place = url.strip_prefix(BUCKET).unwrap().trim_start_matches('/');
        if is_manifest {
            let manifest = std::fs::read(self.output.join(place)).map_err(|error| format!("{place}: {error}"))?;
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            let file = |entry: &serde_json::Value| {
                let place = entry["url"].as_str().unwrap().strip_prefix(BUCKET).ok_or("not in this bucket")?.trim_start_matches('/');
                let path = self.output.join(place);
                match path.metadata() {
                    Ok(file) if entry["meta"]["content_length"] == file.len() => Ok(path),
                    Ok(file) => Err(format!("{place}: {} bytes, and the manifest says {}", file.len(), entry["meta"]["content_length"])),
                    Err(_) => Err(format!("{place}: no such file")),
                }
            };
            return manifest["entries"].as_array().unwrap().iter().map(file).collect();
        }
        let mut found = Vec::new();
        super::walk(&self.output, &mut |path| {
            if path.strip_prefix(&self.output).unwrap().to_str().unwrap().starts_with(place) {
                found.push(path.to_owned());
            }
        });
        found.sort();
        Ok(found)
    }

    fn refuse(&mut self, detail: &str) {
        let body = [b"SERROR\0C58030\0M", detail.as_bytes(), b"\0\0"].concat();
        write(&mut self.client, &(b'E', body));
        // The transaction is void, for the server as well.
        write(&mut self.server, &query("an error"));
        while let Some(message) = read(&mut self.server) {
            if message.0 == b'Z' {
                write(&mut self.client, &message);
                return;
            }
        }
    }
}
