//! What stands behind the web servers: answers that stop half-way until they are
//! let go, so that a transfer is in its middle for as long as a test needs it.
//! Also the way from nginx to `git http-backend`.
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A shorter answer than this is not stopped: git's negotiations.
const GATED_FROM: usize = 256 * 1024;

/// How long an answer stays stopped when nobody lets it go.
const GATE_LIMIT: Duration = Duration::from_secs(120);

/// A server on a unix socket, for nginx to pass requests on to.
#[derive(Debug)]
pub(crate) struct Upstream {
    socket: PathBuf,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    /// The body of every `/gated/NAME`.
    body: Vec<u8>,
    /// Where git's repositories are.
    repositories: PathBuf,
    gates: Mutex<Gates>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gates {
    open: BTreeSet<String>,
    /// Every connection, to be cut off at the end.
    connections: Vec<UnixStream>,
    closing: bool,
}

impl Upstream {
    pub(crate) fn start(socket: &Path, body: Vec<u8>, repositories: &Path) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let state = Arc::new(State {
            body,
            repositories: repositories.to_owned(),
            gates: Mutex::default(),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || serve(&listener, &shared))?;
        Ok(Self {
            socket: socket.to_owned(),
            state,
            thread: Some(thread),
        })
    }

    /// Lets the answers of this name go.
    pub(crate) fn open(&self, gate: &str) {
        let mut gates = self.state.gates.lock().unwrap();
        gates.open.insert(gate.to_owned());
        self.state.changed.notify_all();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Ok(mut gates) = self.state.gates.lock() {
            gates.closing = true;
            for connection in &gates.connections {
                // Fails only where it has ended.
                let _ = connection.shutdown(Shutdown::Both);
            }
            self.state.changed.notify_all();
        }
        // Wakes accept(); without that connection the thread would stay behind.
        let woken = UnixStream::connect(&self.socket);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            // What went wrong in it, the client has seen.
            let _ = thread.join();
        }
    }
}

fn serve(listener: &UnixListener, state: &Arc<State>) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        let answered = stream.and_then(|stream| {
            let mut gates = state.gates.lock().unwrap();
            if gates.closing {
                return Ok(None);
            }
            gates.connections.push(stream.try_clone()?);
            let state = Arc::clone(state);
            let thread = std::thread::Builder::new().spawn(move || state.answer(&stream))?;
            Ok(Some(thread))
        });
        match answered {
            Ok(Some(thread)) => threads.push(thread),
            Ok(None) => break,
            Err(error) => eprintln!("upstream: {error}"),
        }
    }
    let ended = threads.into_iter().map(|thread| thread.join().unwrap());
    for error in ended.filter_map(Result::err) {
        eprintln!("upstream: {error}");
    }
}

/// A request, as nginx passes it on.
struct Request {
    method: String,
    path: String,
    query: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &UnixStream) -> io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other(format!("no request line: {line:?}")));
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            fields: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            let field = (name.to_ascii_lowercase(), value.to_owned());
            request.fields.push(field);
        }
        let length = request.field("content-length").parse().unwrap_or(0);
        request.body = vec![0; length];
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }

    fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|field| field.0 == name);
        field.map_or("", |field| &field.1)
    }
}

impl State {
    fn answer(&self, stream: &UnixStream) -> io::Result<()> {
        let request = Request::read(stream)?;
        let path = request.path.clone();
        let mut parts = path.splitn(4, '/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("gated"), Some(gate), None) => {
                self.send(stream, "HTTP/1.0 200 OK\r\n", &self.body, gate)
            }
            (Some("git"), Some(gate), Some(rest)) => {
                let (head, body) = self.git(&request, rest)?;
                self.send(stream, &head, &body, gate)
            }
            _ => self.send(stream, "HTTP/1.0 404 Not Found\r\n", b"", "none"),
        }
    }

    /// Sends an answer: half of it, and the rest when the gate has been opened.
    fn send(&self, mut stream: &UnixStream, head: &str, body: &[u8], gate: &str) -> io::Result<()> {
        let length = body.len();
        write!(stream, "{head}Content-Length: {length}\r\n\r\n")?;
        let (before, after) = if length < GATED_FROM {
            (body, &body[..0])
        } else {
            body.split_at(length / 2)
        };
        stream.write_all(before)?;
        if !after.is_empty() {
            let closed = |gates: &mut Gates| !gates.closing && !gates.open.contains(gate);
            let gates = self.gates.lock().unwrap();
            let waited = self.changed.wait_timeout_while(gates, GATE_LIMIT, closed);
            if waited.unwrap().1.timed_out() {
                return Err(io::Error::other(format!("{gate} was never let go")));
            }
        }
        stream.write_all(after)
    }

    /// Runs git's CGI program (RFC 3875).
    fn git(&self, request: &Request, path: &str) -> io::Result<(String, Vec<u8>)> {
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_PROJECT_ROOT", &self.repositories)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_PROTOCOL", request.field("git-protocol"))
            .env("PATH_INFO", format!("/{path}"))
            .env("QUERY_STRING", &request.query)
            .env("REQUEST_METHOD", &request.method)
            .env("REMOTE_ADDR", "::1")
            .env("CONTENT_TYPE", request.field("content-type"))
            .env("CONTENT_LENGTH", request.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", request.field("content-encoding"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // What is asked for fits into a pipe: nothing waits for its answer to be read.
        let written = child.stdin.take().map(|mut to| to.write_all(&request.body));
        let output = child.wait_with_output()?;
        written.transpose()?;
        let end = output
            .stdout
            .windows(4)
            .position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| io::Error::other("git http-backend: no header"))?;
        let header = String::from_utf8_lossy(&output.stdout[..end + 2]).into_owned();
        let status = header
            .lines()
            .find_map(|line| line.strip_prefix("Status: "));
        let status = status.unwrap_or("200 OK");
        let head = format!("HTTP/1.0 {status}\r\n{header}");
        Ok((head, output.stdout[end + 4..].to_vec()))
    }
}
