//! A client for the agents' HTTP interface. It speaks HTTP/1.0, in which an answer ends where the connection does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

/// How long an answer may take on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn get(agent: SocketAddr, path: &str) -> anyhow::Result<Value> {
    document(agent, "GET", path, "")
}

pub(crate) fn post(agent: SocketAddr, path: &str, body: &str) -> anyhow::Result<Value> {
    document(agent, "POST", path, body)
}

pub(crate) fn put(agent: SocketAddr, path: &str, body: &str) -> anyhow::Result<Value> {
    document(agent, "PUT", path, body)
}

/// Sends a request; the answer is still to be read.
pub(crate) fn request(agent: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<TcpStream> {
    let mut connection = TcpStream::connect_timeout(&agent, TIMEOUT)?;
    connection.set_nodelay(true)?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {agent}\r\nContent-Length: {length}\r\n\r\n");
    connection.write_all((head + body).as_bytes())?;
    Ok(connection)
}

fn document(agent: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let answer = || {
        let mut connection = request(agent, method, path, body)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "the answer is {head}: {body}");
        Ok::<_, anyhow::Error>(serde_json::from_str(body)?)
    };
    answer().with_context(|| format!("failed to {method} http://{agent}{path}"))
}
