//! What the DNS says of hosts and services: a stub resolver (RFC 1035 §5.3.1, services by RFC 2782). Hosts are the system's affair
//! unless a server is named; the system has no call for services.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype, ToName};
use domain::rdata::{A, Aaaa, Srv};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::address::DNS_PORT;

/// How long a server may take to answer, and how often all are asked (resolv.conf(5): 5 s and 2; contacts are not waited for).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// So many servers are asked (resolv.conf(5), `MAXNS`).
const SERVERS_MAX: usize = 3;
/// How long the system may take.
const SYSTEM_TIMEOUT: Duration = Duration::from_secs(10);
/// How long all questions about one host or service may take together.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);
/// Hosts of one service that are asked about; the rest is left out.
const TARGETS_MAX: usize = 64;
/// Addresses of one host or service; the rest is left out.
pub(super) const ADDRESSES_MAX: usize = 64;
/// The largest answer by datagram, without extensions (RFC 1035 §4.2.1); what is larger comes by stream.
const DATAGRAM_BYTES_MAX: usize = 512;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why nothing was found, for people.
type Reason = String;
type Answer = Message<Vec<u8>>;
/// A host of a service, and its port.
type Target = (Name<Vec<u8>>, u16);

/// Why a server told nothing.
enum Wrong {
    /// It says that there is nothing.
    Absent(Reason),
    /// It does not say; the next time it may.
    Failed(Reason),
}

impl From<Wrong> for Reason {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Absent(reason) | Wrong::Failed(reason) => reason,
        }
    }
}

/// Asks a server of names, or the system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    /// Who is asked in place of those that the system would ask.
    pub(super) server: Option<SocketAddr>,
}

impl Resolver {
    /// Every address that a host has, in time.
    pub(super) async fn host(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Reason> {
        in_time(self.look_up_host(host, port)).await
    }

    /// Every address of every host of a service, in time.
    pub(super) async fn service(self, service: &str) -> Result<Vec<SocketAddr>, Reason> {
        in_time(self.look_up_service(service)).await
    }

    async fn look_up_host(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Reason> {
        let found = match self.server {
            Some(_) => self.addresses(&name(host)?).await?,
            None => system(host).await?,
        };
        usable(found.into_iter().map(|ip| SocketAddr::new(ip, port)))
    }

    async fn look_up_service(self, service: &str) -> Result<Vec<SocketAddr>, Reason> {
        let answer = self.ask(&name(service)?, Rtype::SRV).await?;
        let mut found = Vec::new();
        for (target, port) in targets_of(&answer)? {
            let told = addresses_of(&answer, &target, Section::Additional);
            let ips = if told.is_empty() { self.target(&target).await? } else { told };
            found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, port)));
            if found.len() >= ADDRESSES_MAX {
                break;
            }
        }
        usable(found)
    }

    /// The addresses of a service's host. One that is not there is left out; one of which nothing is told leaves the whole open.
    async fn target(self, host: &Name<Vec<u8>>) -> Result<Vec<IpAddr>, Reason> {
        match self.addresses(host).await {
            Ok(found) => Ok(found),
            Err(Wrong::Absent(_)) => Ok(Vec::new()),
            Err(Wrong::Failed(reason)) => Err(reason),
        }
    }

    /// All addresses of both kinds; a kind of which there is none is no error while there is one of the other.
    async fn addresses(self, host: &Name<Vec<u8>>) -> Result<Vec<IpAddr>, Wrong> {
        let mut found = Vec::new();
        let mut wrong = None;
        for kind in [Rtype::A, Rtype::AAAA] {
            match self.ask(host, kind).await {
                Ok(answer) => {
                    if let Some(owner) = answer.canonical_name() {
                        found.extend(addresses_of(&answer, &owner, Section::Answer));
                    }
                }
                // What is not told says more than that there is nothing.
                Err(absent @ Wrong::Absent(_)) => wrong = wrong.or(Some(absent)),
                Err(failed @ Wrong::Failed(_)) => wrong = Some(failed),
            }
        }
        match wrong {
            Some(wrong) if found.is_empty() => Err(wrong),
            Some(_) | None => Ok(found),
        }
    }

    /// The first answer of a server that has one.
    async fn ask(self, of: &Name<Vec<u8>>, kind: Rtype) -> Result<Answer, Wrong> {
        let servers = self.servers().map_err(Wrong::Failed)?;
        let mut wrong = String::new();
        for server in (0..ATTEMPTS).flat_map(|_| &servers) {
            match timeout(ANSWER_TIMEOUT, exchange(*server, of, kind)).await {
                Ok(Ok(answer)) if answer.header().rcode() == Rcode::NOERROR => return Ok(answer),
                Ok(Ok(answer)) if answer.header().rcode() == Rcode::NXDOMAIN => {
                    return Err(Wrong::Absent(format!("{server} says that there is no such name")));
                }
                Ok(Ok(answer)) => wrong = format!("{server} answers {}", answer.header().rcode()),
                Ok(Err(error)) => wrong = format!("{server}: {error}"),
                Err(_) => wrong = format!("{server} does not answer"),
            }
        }
        Err(Wrong::Failed(wrong))
    }

    fn servers(self) -> Result<Vec<SocketAddr>, Reason> {
        if let Some(server) = self.server {
            return Ok(vec![server]);
        }
        let text = fs::read_to_string(RESOLV_CONF).map_err(|error| format!("{RESOLV_CONF}: {error}"))?;
        let servers = servers_in(&text);
        if servers.is_empty() { Err(format!("{RESOLV_CONF} names no server")) } else { Ok(servers) }
    }
}

/// `nameserver` lines of resolv.conf(5). An address with a zone is left out.
fn servers_in(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    servers.map(|ip| SocketAddr::new(ip, DNS_PORT)).take(SERVERS_MAX).collect()
}

async fn in_time<T>(lookup: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
    timeout(LOOKUP_TIMEOUT, lookup).await.unwrap_or_else(|_| Err("not all was answered in time".to_owned()))
}

fn name(text: &str) -> Result<Name<Vec<u8>>, Reason> {
    text.parse().map_err(|error| format!("that is no name: {error}"))
}

async fn system(host: &str) -> Result<Vec<IpAddr>, Reason> {
    match timeout(SYSTEM_TIMEOUT, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => Ok(found.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Those at which a node may be, each once, in order.
fn usable(found: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Reason> {
    let is_usable = |address: &SocketAddr| {
        let ip = address.ip();
        !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
    };
    let mut usable: Vec<SocketAddr> = found.into_iter().filter(is_usable).collect();
    usable.sort_unstable();
    usable.dedup();
    usable.truncate(ADDRESSES_MAX);
    if usable.is_empty() { Err("there is no address at which a node could be".to_owned()) } else { Ok(usable) }
}

/// The hosts of the service that was asked about, with their ports.
fn targets_of(answer: &Answer) -> Result<Vec<Target>, Reason> {
    let bad = |error| format!("its answer makes no sense: {error}");
    let owner = answer.canonical_name().ok_or("its answer makes no sense")?;
    let records = answer.answer().map_err(|error| bad(error.to_string()))?.limit_to_in::<Srv<ParsedName<_>>>();
    let mut targets = Vec::new();
    for record in records.take(TARGETS_MAX) {
        let record = record.map_err(|error| bad(error.to_string()))?;
        let (port, target) = (record.data().port(), record.data().target());
        // A root as target says that the service is not there (RFC 2782).
        if record.owner() == &owner && port != 0 && !target.is_root() {
            targets.push((target.to_name(), port));
        }
    }
    Ok(targets)
}

#[derive(Clone, Copy)]
enum Section {
    Answer,
    Additional,
}

/// The addresses that a section of an answer has for an owner. What makes no sense ends the list.
fn addresses_of(answer: &Answer, owner: &impl ToName, section: Section) -> Vec<IpAddr> {
    let records = || match section {
        Section::Answer => answer.answer(),
        Section::Additional => answer.additional(),
    };
    let (Ok(four), Ok(six)) = (records(), records()) else { return Vec::new() };
    let is_its = |of: &ParsedName<_>| of.name_eq(owner);
    let four = four.limit_to_in::<A>().map_while(Result::ok).filter(|record| is_its(record.owner()));
    let six = six.limit_to_in::<Aaaa>().map_while(Result::ok);
    let six = six.filter(|record| record.owner().name_eq(owner)).map(|record| IpAddr::V6(record.data().addr()));
    four.map(|record| IpAddr::V4(record.data().addr())).chain(six).collect()
}

/// Asks one server: by datagram, and by stream where the answer does not fit.
async fn exchange(server: SocketAddr, of: &Name<Vec<u8>>, kind: Rtype) -> io::Result<Answer> {
    let question = question(of, kind)?;
    let answer = by_datagram(server, &question).await?;
    if answer.header().tc() { by_stream(server, &question).await } else { Ok(answer) }
}

fn question(of: &Name<Vec<u8>>, kind: Rtype) -> io::Result<Answer> {
    let mut builder = MessageBuilder::new_vec();
    // A number that others cannot guess, as the hasher has random keys; the port is the system's choice.
    let [high, low, ..] = RandomState::new().hash_one(kind.to_int()).to_le_bytes();
    builder.header_mut().set_id(u16::from_le_bytes([high, low]));
    builder.header_mut().set_rd(true);
    let mut builder = builder.question();
    builder.push((of, kind)).map_err(io::Error::other)?;
    Ok(builder.into_message())
}

async fn by_datagram(server: SocketAddr, question: &Answer) -> io::Result<Answer> {
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question.as_slice()).await?;
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever else comes is not the answer, which may still come.
        if let Some(answer) = answer_in(&buffer[..length], question) {
            return Ok(answer);
        }
    }
}

async fn by_stream(server: SocketAddr, question: &Answer) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.as_slice().len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question.as_slice()].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    answer_in(&answer, question).ok_or_else(|| io::Error::other("an answer to something else"))
}

fn answer_in(bytes: &[u8], question: &Answer) -> Option<Answer> {
    Message::from_octets(bytes.to_vec()).ok().filter(|answer| answer.is_answer(question))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer about a service, with the address of its host; and the question.
    fn told() -> (Vec<u8>, Answer) {
        let [service, host] = ["_rumor._udp.example", "node.example"].map(|text| name(text).unwrap());
        let question = question(&service, Rtype::SRV).unwrap();
        let mut answer = MessageBuilder::new_vec().start_answer(&question, Rcode::NOERROR).unwrap();
        answer.push((&service, 60, Srv::new(1, 1, 4747, &host))).unwrap();
        let mut additional = answer.additional();
        additional.push((&host, 60, A::new([10, 0, 0, 1].into()))).unwrap();
        (additional.finish(), question)
    }

    /// What is read of an answer, each by whom it is read.
    fn read(bytes: &[u8], question: &Answer) -> Option<Vec<SocketAddr>> {
        let answer = answer_in(bytes, question)?;
        let owner = answer.canonical_name()?;
        assert!(addresses_of(&answer, &owner, Section::Answer).len() <= bytes.len());
        let targets = targets_of(&answer).ok()?;
        assert!(targets.len() <= TARGETS_MAX);
        let addresses = |(host, port): &Target| {
            let port = *port;
            addresses_of(&answer, host, Section::Additional).into_iter().map(move |ip| SocketAddr::new(ip, port))
        };
        Some(targets.iter().flat_map(addresses).collect())
    }

    #[test]
    fn the_answer_that_is_changed_below_is_a_good_one() {
        let (answer, question) = told();
        assert_eq!(read(&answer, &question), Some(vec!["10.0.0.1:4747".parse().unwrap()]));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            end in any::<prop::sample::Index>(),
            behind: Vec<u8>,
        ) {
            let (mut answer, question) = told();
            let heads = 12;
            for (place, byte) in changes {
                let place = heads + place.index(answer.len() - heads);
                answer[place] = byte;
            }
            answer.truncate(answer.len() - if end.index(2) == 0 { 0 } else { end.index(answer.len()) });
            read(&[answer, behind.clone()].concat(), &question);
            read(&behind, &question);
            servers_in(&String::from_utf8_lossy(&behind));
        }
    }

    #[test]
    fn servers_of_names_are_read_as_the_system_reads_them() {
        let text = "# comment\nsearch example\nnameserver 10.0.0.1\n nameserver ::1 \nnameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let servers: Vec<String> = servers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53", "10.0.0.2:53"]);
    }

    #[test]
    fn addresses_at_which_no_node_can_be_are_left_out() {
        let of = |list: &[&str]| usable(list.iter().map(|text| text.parse().unwrap()));
        let found =
            of(&["10.0.0.2:1", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1", "10.0.0.2:1"]);
        assert_eq!(found, Ok(vec!["10.0.0.2:1".parse().unwrap()]));
        assert!(of(&["0.0.0.0:1"]).is_err());
    }
}
