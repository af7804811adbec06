//! Feature flags that a cluster keeps: every node reads them at once, and sets them for all. In two terminals:
//!
//! ```console
//! $ cargo run -p rumormill --example flags -- a 127.0.0.1:4801
//! $ cargo run -p rumormill --example flags -- b 127.0.0.1:4802 127.0.0.1:4801
//! ```
//!
//! Then type `dark-mode on` into either of them. Ctrl-D leaves.
#![expect(clippy::print_stdout, reason = "that is what an example does")]

use std::{env, error::Error, io, thread};

use rumormill::data::{Changed, News};
use rumormill::{Cluster, Data};
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(name), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("flags NAME ADDRESS [CONTACT]".into());
    };
    let cluster = Cluster::builder(name).bind(address).join(arguments).start().await?;
    let data = cluster.data();
    let mut watch = data.watch("flags/").await?;
    let (typed, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || io::stdin().lines().map_while(Result::ok).try_for_each(|line| typed.send(line)));
    loop {
        tokio::select! {
            Some(news) = watch.next() => show(&data, news),
            line = lines.recv() => match line {
                Some(line) => set(&data, &line).await,
                None => break,
            },
        }
    }
    Ok(cluster.leave().await?)
}

fn show(data: &Data, news: News) {
    match news {
        News::Change(Changed { change, author_name }) => {
            let name = change.key.trim_start_matches("flags/");
            let word = if is_on(data, name) { "on" } else { "off" };
            println!("{name} is {word} ({})", author_name.unwrap_or_default());
        }
        News::Reload(_) => data.list("flags/").for_each(|flag| println!("{flag}")),
    }
}

fn is_on(data: &Data, name: &str) -> bool {
    data.get_as(&format!("flags/{name}")).ok().flatten().unwrap_or(false)
}

async fn set(data: &Data, line: &str) {
    let (name, word) = line.split_once(' ').unwrap_or((line, "on"));
    if let Err(error) = data.put_as(format!("flags/{name}"), &(word == "on")).await {
        println!("{name}: {error}");
    }
}
