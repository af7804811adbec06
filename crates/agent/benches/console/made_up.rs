//! An agent that is made up: it serves the very files of the console, and tells of as many members and events as one likes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/console");
/// What happens to members in turn, and what they are then.
const EVENTS: [(&str, &str); 4] =
    [("suspected", "suspect"), ("refuted", "alive"), ("updated", "alive"), ("failed", "dead")];

/// How many members, and how many events in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    pub(crate) members: usize,
    pub(crate) rate: u32,
}

impl Cluster {
    /// Serves it until this process ends, and says where.
    pub(crate) fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                // A page that goes in the middle of an answer is none of its business.
                thread::spawn(move || self.answer(connection).ok());
            }
        });
        address
    }

    fn answer(self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let line = lines.next().transpose()?.unwrap_or_default();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let path = line.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
        let (kind, body) = match path {
            "/v1/events" => return self.tell(connection),
            "/v1/members" => ("application/json", Value::from(self.list()).to_string()),
            "/v1/info" => ("application/json", self.info().to_string()),
            "/metrics" => ("text/plain", "rumor_health_score 0\n".to_owned()),
            "/" => ("text/html", fs::read_to_string(format!("{FILES}/index.html"))?),
            path => {
                let file = path.strip_prefix("/console").unwrap_or(path);
                let kind = match file.rsplit_once('.') {
                    Some((_, "js")) => "text/javascript",
                    Some((_, "css")) => "text/css",
                    Some(_) | None => "image/svg+xml",
                };
                (kind, fs::read_to_string(format!("{FILES}{file}")).unwrap_or_default())
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close");
        write!(connection, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    /// The snapshot, and then what happens.
    fn tell(self, mut connection: TcpStream) -> std::io::Result<()> {
        write!(connection, "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
        write!(connection, "data: {}\n\n", json!({ "event": "snapshot", "members": self.list() }))?;
        let begun = Instant::now();
        for turn in 0_u32.. {
            let due = begun + Duration::from_secs(1) * turn / self.rate;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (event, state) = EVENTS[turn as usize % EVENTS.len()];
            // Each four are about the same member; those follow each other across the whole list.
            let index = (turn as usize / EVENTS.len()) * 7_919 % self.members;
            let document = json!({ "event": event, "at": now(), "by": name(0), "member": member(index, state) });
            write!(connection, "data: {document}\n\n")?;
        }
        Ok(())
    }

    fn list(self) -> Vec<Value> {
        (0..self.members).map(|index| member(index, "alive")).collect()
    }

    fn info(self) -> Value {
        json!({ "name": name(0), "id": id(0), "cluster": "made-up", "version": "0", "mode": "push-pull", "view": "full",
            "sealed": true, "uptime": 1.0, "fanout": 3, "size_estimate": self.members, "address": "127.0.0.1:1" })
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

fn id(index: usize) -> String {
    format!("{index:016x}")
}

fn member(index: usize, state: &str) -> Value {
    json!({ "id": id(index), "name": name(index), "address": format!("10.0.{}.{}:4747", index / 256, index % 256),
        "state": state, "incarnation": "1", "tags": { "zone": format!("z{}", index % 7) }, "since": now(), "rtt": 0.0012,
        "self": index == 0, "protocol": { "min": 1, "max": 1 }, "view": "full" })
}
