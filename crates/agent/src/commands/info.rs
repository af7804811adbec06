//! `rumor info` and `rumor logs`.

use ureq::http::Method;

use super::Output;
use crate::cli;
use crate::client::Client;
use crate::documents::{DataInfo, Info, LogLine, SealingInfo, Traffic};
use crate::failure::Failure;
use crate::{logs, print};

pub(super) fn show(flags: &cli::Info, output: Output) -> Result<(), Failure> {
    let info: Info = Client::new(&flags.target)?.get("/v1/info")?;
    if output.json {
        return Ok(print::json(&info)?);
    }
    for (title, text) in rows(&info) {
        print::line(format!("{title:<9}  {text}"))?;
    }
    Ok(())
}

fn rows(info: &Info) -> [(&'static str, String); 16] {
    let traffic = |Traffic { datagrams, bytes }| {
        format!("{}, {}", print::count(datagrams, "datagram"), print::count(bytes, "byte"))
    };
    let members = info.members;
    let dropped: u64 = info.dropped.values().chain(info.unsealed.iter().flat_map(|causes| causes.values())).sum();
    [
        ("name", format!("{} ({})", info.name, info.id)),
        ("cluster", format!("{}, about {} nodes", info.cluster, info.size_estimate)),
        ("address", format!("{} (UDP and TCP, {})", info.address, if info.sealed { "sealed" } else { "not sealed" })),
        ("keys", keys(info)),
        ("identity", identity(info)),
        ("http", info.http.clone().unwrap_or_else(|| "not served".to_owned())),
        ("metrics", info.metrics.clone().unwrap_or_else(|| "with http".to_owned())),
        ("program", format!("rumor {}, process {}, up {}", info.version, info.pid, print::age(info.uptime))),
        ("settings", format!("preset {}, {}, {} view", info.preset, info.mode, info.view)),
        ("kept", kept(info)),
        ("data", data(info.data)),
        ("health", format!("{} (0 is best){}", info.health, if info.degraded { ", degraded" } else { "" })),
        (
            "members",
            format!(
                "{} alive, {} suspect, {} dead, {} left",
                members.alive, members.suspect, members.dead, members.left
            ),
        ),
        ("sent", traffic(info.sent)),
        ("received", traffic(info.received)),
        ("dropped", print::count(dropped, "input")),
    ]
}

fn keys(info: &Info) -> String {
    let Some(SealingInfo { key, accepted, refused_by }) = &info.sealing else { return "none".to_owned() };
    let others = match accepted.len() {
        0 | 1 => String::new(),
        count => format!(", and accepts {} more", count - 1),
    };
    let refused = refused_by.as_ref().map_or_else(String::new, |by| {
        format!("; {by} ended the stream before it answered: no key in common, or no room; if this agent was off while keys changed, give it the present key file")
    });
    format!("seals with {key}{others}{refused}")
}

fn identity(info: &Info) -> String {
    let ends =
        info.certificate_end.map(|end| format!("; the certificate runs out in {}", print::age(end - print::now())));
    format!("{}{}", info.identity, ends.unwrap_or_default())
}

fn kept(info: &Info) -> String {
    match &info.data_dir {
        Some(directory) if info.durable => format!("durable in {directory}"),
        Some(directory) => format!("in memory only, as {directory} takes no writes: all ends with the process"),
        None => "in memory only, as there is no --data-dir: all ends with the process".to_owned(),
    }
}

fn data(data: DataInfo) -> String {
    let DataInfo { updates, bytes, bytes_max, unsaved } = data;
    let percent = 100 * bytes / bytes_max.max(1);
    let full = format!("{}, {} ({percent} % full)", print::count(updates, "update"), print::count(bytes, "byte"));
    if unsaved > 0 { format!("{full}; the disk has not taken {unsaved} of them") } else { full }
}

pub(super) fn logs(flags: &cli::Logs, output: Output) -> Result<(), Failure> {
    let path = format!("/v1/logs?level={}", flags.level.as_str());
    let mut lines = Client::new(&flags.target)?.stream(Method::GET, &path, Vec::new())?;
    while let Some(event) = lines.next()? {
        let line: LogLine = event.document()?;
        if output.json {
            print::json(&line)?;
        } else {
            print::line(logs::text(&line))?;
        }
    }
    print::note("the agent has stopped");
    Ok(())
}
