//! Programs that run inside of namespaces: a relay that takes its time, and somebody who shouts.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Passes on what comes to each of `HERE=THERE`, so many milliseconds later: what `there` sends to another's place comes to that
/// other from `there`'s own place, so that answers come back the same way.
pub(crate) fn run(delay: &str, pairs: &[&str]) -> ExitCode {
    let delay = Duration::from_millis(delay.parse().unwrap());
    let pairs: Vec<(SocketAddr, SocketAddr)> = pairs
        .iter()
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(here, there)| (here.parse().unwrap(), there.parse().unwrap()))
        .collect();
    let sockets: BTreeMap<SocketAddr, Arc<UdpSocket>> =
        pairs.iter().map(|(here, there)| (*there, Arc::new(UdpSocket::bind(here).unwrap()))).collect();
    let sockets = Arc::new(sockets);
    for (here, there) in pairs {
        let listener = TcpListener::bind(here).unwrap();
        let of_thread = Arc::clone(&sockets);
        thread::spawn(move || pass_datagrams(there, &of_thread, delay));
        thread::spawn(move || pass_streams(&listener, there, delay));
    }
    println!("\"ready\"");
    // It ends when whoever started it ends it.
    loop {
        thread::park();
    }
}

/// Those that come to the place of `there`, from whoever has a place here.
fn pass_datagrams(there: SocketAddr, sockets: &BTreeMap<SocketAddr, Arc<UdpSocket>>, delay: Duration) {
    let (late, due) = channel::<(Instant, Arc<UdpSocket>, Vec<u8>)>();
    thread::spawn(move || {
        for (at, from, bytes) in due {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            // Whoever is not there gets nothing, as on any network.
            from.send_to(&bytes, there).ok();
        }
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok((length, from)) = sockets[&there].recv_from(&mut buffer) {
        if let Some(place) = sockets.get(&from) {
            late.send((Instant::now() + delay, Arc::clone(place), buffer[..length].to_vec())).unwrap();
        }
    }
}

fn pass_streams(listener: &TcpListener, there: SocketAddr, delay: Duration) {
    while let Ok((near, _)) = listener.accept() {
        thread::spawn(move || {
            let Ok(far) = TcpStream::connect(there) else { return };
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || pass_bytes(near_too, far_too, delay));
            pass_bytes(far, near, delay);
        });
    }
}

/// Each piece is so much later; the end as well.
fn pass_bytes(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (late, due) = channel::<(Instant, Vec<u8>)>();
    let writer = thread::spawn(move || {
        for (at, bytes) in due {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // It may be closed already.
        to.shutdown(Shutdown::Write).ok();
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if late.send((Instant::now() + delay, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    drop(late);
    writer.join().unwrap();
}

/// Sends datagrams that nobody sealed: of all lengths, and some that begin as one of the protocol might.
pub(crate) fn shout(to: &str, count: &str) -> ExitCode {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let count: usize = count.parse().unwrap();
    for number in 0..count {
        let bytes: Vec<u8> =
            (0..number % 1_200).map(|place| u8::try_from((number * 31 + place * 7) % 251).unwrap()).collect();
        socket.send_to(&bytes, to).unwrap();
    }
    ExitCode::SUCCESS
}
