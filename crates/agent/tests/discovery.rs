//! Contacts that agents find by themselves: in the DNS, of a server of the test's own, and in files.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use simple_dns::rdata::{A, AAAA, CNAME, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};
use support::{Agent, Lines, until_all_know_all};

/// How the server answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mood {
    Honest,
    Silent,
    /// Bytes that are no message, and answers to what was not asked.
    Garbage,
    Failing,
}

/// A name server on loopback, by datagram and stream. It ends with the process.
struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<(Vec<ResourceRecord<'static>>, Mood)>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The same port for streams, unless somebody has it.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            zone: Arc::new(Mutex::new((Vec::new(), Mood::Honest))),
            asked: Arc::default(),
        };
        let (zone, asked) = (Arc::clone(&server.zone), Arc::clone(&server.asked));
        thread::spawn(move || serve_datagrams(&udp, &zone, &asked));
        let zone = Arc::clone(&server.zone);
        thread::spawn(move || serve_streams(&tcp, &zone));
        server
    }

    fn set(&self, records: Vec<ResourceRecord<'static>>) {
        self.zone.lock().unwrap().0 = records;
    }

    fn mood(&self, mood: Mood) {
        self.zone.lock().unwrap().1 = mood;
    }

    /// Waits until it was asked so many times more.
    fn wait_for_questions(&self, count: usize) {
        let (begun, deadline) = (self.asked.load(Ordering::SeqCst), Instant::now() + Duration::from_mins(1));
        while self.asked.load(Ordering::SeqCst) < begun + count {
            assert!(Instant::now() < deadline, "nobody asks");
            thread::yield_now();
        }
    }

    fn flags(&self, join: &str) -> Vec<String> {
        let server = format!("dns_server={}", self.address);
        ["--join", join, "--set", &server, "--set", "discovery_interval=1s"].map(ToOwned::to_owned).into()
    }
}

type Zone = Mutex<(Vec<ResourceRecord<'static>>, Mood)>;

fn serve_datagrams(socket: &UdpSocket, zone: &Zone, asked: &AtomicUsize) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let (records, mood) = zone.lock().unwrap().clone();
        let question = &buffer[..length];
        let answers = match mood {
            Mood::Silent => Vec::new(),
            Mood::Garbage => {
                let mut foreign = reply(question, &records);
                foreign[0] ^= 0xff;
                vec![b"nonsense".to_vec(), question.to_vec(), foreign]
            }
            Mood::Failing => vec![failure(question)],
            Mood::Honest => {
                let whole = reply(question, &records);
                vec![if whole.len() > 512 { truncated(question) } else { whole }]
            }
        };
        for answer in answers {
            // Who asked may have gone.
            socket.send_to(&answer, from).ok();
        }
        asked.fetch_add(1, Ordering::SeqCst);
    }
}

fn serve_streams(listener: &TcpListener, zone: &Zone) {
    while let Ok((mut stream, _)) = listener.accept() {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut question).unwrap();
        let answer = reply(&question, &zone.lock().unwrap().0);
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], &answer].concat()).unwrap();
    }
}

fn bytes(question: &[u8], change: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let question = Packet::parse(question).unwrap();
    let mut packet = Packet::new_reply(question.id());
    packet.questions.clone_from(&question.questions);
    change(&mut packet);
    packet.build_bytes_vec_compressed().unwrap()
}

/// What the zone has of what was asked; without anything the name is not there. Addresses of services come along if they are
/// in the zone under the same name.
fn reply(question: &[u8], records: &[ResourceRecord<'static>]) -> Vec<u8> {
    bytes(question, |packet| {
        let asked = packet.questions[0].clone();
        let named = |name: &Name<'_>| records.iter().filter(|record| record.name == *name).cloned().collect::<Vec<_>>();
        let mut found = named(&asked.qname);
        if let Some(RData::CNAME(CNAME(other))) = found.first().map(|record| record.rdata.clone()) {
            found.extend(named(&other));
        }
        if found.is_empty() {
            *packet.rcode_mut() = RCODE::NameError;
        }
        found.retain(|record| matches!(record.rdata, RData::CNAME(_)) || record.match_qtype(asked.qtype));
        packet.answers = found;
    })
}

fn truncated(question: &[u8]) -> Vec<u8> {
    bytes(question, |packet| packet.set_flags(PacketFlag::TRUNCATION))
}

fn failure(question: &[u8]) -> Vec<u8> {
    bytes(question, |packet| *packet.rcode_mut() = RCODE::ServerFailure)
}

fn record(name: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, 5, data)
}

fn address(name: &'static str, ip: [u8; 4]) -> ResourceRecord<'static> {
    record(name, RData::A(A { address: Ipv4Addr::from(ip).into() }))
}

fn service(target: &'static str, port: u16) -> ResourceRecord<'static> {
    let target = Name::new(target).unwrap();
    record("_rumor._udp.test", RData::SRV(SRV { priority: 1, weight: 1, port, target }))
}

fn port(agent: &Agent) -> u16 {
    agent.gossip.parse::<SocketAddr>().unwrap().port()
}

fn start(name: &str, flags: &[String]) -> Agent {
    Agent::start(name, &flags.iter().map(String::as_str).collect::<Vec<_>>())
}

fn wait_for_line(log: &Lines, what: &str) {
    log.wait_for(what, |line| line["message"].as_str().is_some_and(|text| text.contains(what)));
}

#[test]
fn a_service_is_joined_and_followed_and_what_makes_no_sense_changes_nothing() {
    let first = Agent::start("n1", &[]);
    let server = NameServer::start();
    let (here, elsewhere) = (address("here.test", [127, 0, 0, 1]), address("nowhere.test", [0, 0, 0, 0]));
    server.set(vec![service("here.test", port(&first)), here.clone()]);
    let seeker = start("n2", &server.flags("srv:_rumor._udp.test"));
    until_all_know_all(&[&first, &seeker]);
    let log = seeker.follow(&["logs"]);

    // Another one that nobody has told of the others: whoever finds it makes one cluster of both.
    let lone = Agent::start("n3", &[]);
    let both = vec![service("here.test", port(&first)), service("here.test", port(&lone)), here];
    server.set(both.clone());
    until_all_know_all(&[&lone, &first]);

    // Whatever the server says, what was known stays; what is wrong is said when it changes, not at each look.
    let unavailable = vec![service("here.test", 0), service(".", 4747)];
    for (mood, records, words) in [
        (Mood::Failing, Vec::new(), Some("SERVFAIL")),
        (Mood::Honest, Vec::new(), Some("no such name")),
        (Mood::Honest, vec![service("nowhere.test", 4747), elsewhere], Some("no address at which a node could be")),
        (Mood::Honest, unavailable, None),
        (Mood::Garbage, both.clone(), Some("does not answer")),
        (Mood::Honest, both.clone(), Some("it is found again")),
        (Mood::Silent, both.clone(), Some("does not answer")),
        (Mood::Honest, both, Some("it is found again")),
    ] {
        server.set(records);
        server.mood(mood);
        if let Some(words) = words {
            wait_for_line(&log, words);
        }
        server.wait_for_questions(3);
    }
    seeker.ask(&["reload"]);
    let (all, mut said) = (seeker.follow(&["logs"]), Vec::new());
    all.wait_for("the last line", |line| {
        let text = line["message"].as_str().unwrap();
        said.push(text.to_owned());
        text.starts_with("the settings were read again")
    });
    let of = |beginning: &str| said.iter().filter(|text| text.starts_with(beginning)).count();
    assert_eq!((of("contacts are now "), of("join has ")), (2, 7), "{said:#?}");
}

#[test]
fn every_address_of_a_host_is_a_contact_also_where_they_are_too_many_for_a_datagram() {
    let first = Agent::start("n1", &[]);
    let server = NameServer::start();
    let alias = record("alias.test", RData::CNAME(CNAME(Name::new("many.test").unwrap())));
    let many = (1..=40).map(|number| address("many.test", [127, 0, 0, number]));
    let six = record("many.test", RData::AAAA(AAAA { address: std::net::Ipv6Addr::LOCALHOST.into() }));
    server.set([alias, six].into_iter().chain(many).collect());
    let seeker = start("n2", &server.flags(&format!("alias.test:{}", port(&first))));
    until_all_know_all(&[&first, &seeker]);
    let log = seeker.follow(&["logs"]);
    let line = log.wait_for("the contacts", |line| {
        line["message"].as_str().is_some_and(|text| text.starts_with("contacts are now "))
    });
    let text = line["message"].as_str().unwrap();
    assert_eq!(text.split(", ").count(), 41, "{text}");
    assert!(text.contains(&format!("[::1]:{}", port(&first))), "{text}");
}

#[test]
fn a_file_of_contacts_is_read_when_it_changes_and_a_line_that_is_none_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("contacts");
    let seeker = Agent::start("n0", &["--join", &format!("file:{}", path.display())]);
    let log = seeker.follow(&["logs"]);
    wait_for_line(&log, "it cannot be read");
    let ready = |agent: &Agent| agent.http("GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(ready(&seeker).ends_with("joining"), "{}", ready(&seeker));

    let first = Agent::start("n1", &[]);
    fs::write(&path, format!("# the first\n{}\n", first.gossip)).unwrap();
    until_all_know_all(&[&first, &seeker]);
    assert!(ready(&seeker).ends_with("ready"));

    let second = Agent::start("n2", &[]);
    fs::write(&path, format!("{}\n{} and more\n", first.gossip, second.gossip)).unwrap();
    wait_for_line(&log, "line 2 is no contact");
    fs::write(&path, format!("{}\n{} # and more\n", first.gossip, second.gossip)).unwrap();
    until_all_know_all(&[&second, &first]);
    wait_for_line(&log, &second.gossip);
    let lines: Vec<Value> = seeker.ask(&["members"]).as_array().unwrap().clone();
    assert_eq!(lines.len(), 3);
}
