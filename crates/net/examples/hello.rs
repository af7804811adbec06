//! Two nodes in one process: one publishes, the other hears it.

#![expect(clippy::print_stdout, reason = "that is what an example does")]

use rumormill::Cluster;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a = Cluster::builder("a").bind("127.0.0.1:0").start().await?;
    let b = Cluster::builder("b").bind("127.0.0.1:0").start().await?;
    let mut news = b.subscribe("news").await?;

    let contact = b.join([a.local_address().to_string()]).await?;
    println!("b joined through {contact}");

    a.publish("news", "hello, rumor").await?;
    if let Some(delivery) = news.next().await {
        println!("{delivery}");
    }
    a.leave().await?;
    b.leave().await?;
    Ok(())
}
