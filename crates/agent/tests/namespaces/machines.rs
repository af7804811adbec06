//! Machines of a test: a network namespace each, on one bridge in a namespace of its own. Nothing of the machine that runs the test
//! is changed, and all is gone when the test is, however it ends.

use std::cell::Cell;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Agent, Lines, rumor, text, words};

/// What is missing on this machine, and how to get it.
pub(crate) fn requirements() -> Result<(), String> {
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    if !is_root {
        return Err("it takes root to make network namespaces".to_owned());
    }
    let missing: Vec<&str> = [("ip", "iproute2"), ("nft", "nftables")]
        .into_iter()
        .filter(|(program, _)| Command::new(program).arg("-V").output().is_err())
        .map(|(_, package)| package)
        .collect();
    if !missing.is_empty() {
        return Err(format!("`apt-get install {}` brings what is missing", missing.join(" ")));
    }
    let probe = Namespace::new("probe");
    for command in ["ip link add br0 type bridge", "ip link add e0 type veth peer name e1", "nft add table inet test"] {
        let output = probe.output(&command.split(' ').collect::<Vec<_>>());
        if !output.status.success() {
            return Err(format!("the kernel refuses `{command}`: {}", text(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// Runs a command to its end, which has to be a good one.
fn must(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A network namespace under a name that nobody else has.
#[derive(Debug)]
struct Namespace(String);

impl Namespace {
    fn new(word: &str) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("rumor-{}-{}-{word}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        must(Command::new("ip").args(["netns", "add", &name]));
        Self(name)
    }

    /// A command inside of it.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).args(words).stdin(Stdio::null());
        command
    }

    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn must(&self, line: &str) -> String {
        must(&mut self.command(&line.split(' ').collect::<Vec<_>>()))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its links go with it. What is left of a test that was killed itself is named by its process.
        Command::new("ip").args(["netns", "del", &self.0]).output().ok();
    }
}

/// A bridge, and as many machines on it as are asked for.
#[derive(Debug)]
pub(crate) struct Network {
    hub: Namespace,
    machines: Cell<u8>,
}

impl Network {
    pub(crate) fn new() -> Self {
        let hub = Namespace::new("hub");
        hub.must("ip link add br0 type bridge");
        hub.must("ip link set br0 up");
        Self { hub, machines: Cell::new(0) }
    }

    /// One more, with nothing on it.
    pub(crate) fn machine(&self) -> Machine {
        let number = self.machines.get() + 1;
        self.machines.set(number);
        let (namespace, ip) = (Namespace::new(&format!("n{number}")), format!("10.77.0.{number}"));
        self.hub.must(&format!("ip link add v{number} type veth peer name eth0 netns {}", namespace.0));
        self.hub.must(&format!("ip link set v{number} master br0 up"));
        for line in ["ip link set lo up", "ip link set eth0 up", &format!("ip addr add {ip}/24 dev eth0")] {
            namespace.must(line);
        }
        for line in ["add table inet test", "add chain inet test in { type filter hook input priority 0; }"] {
            must(&mut namespace.command(&["nft", line]));
        }
        Machine { agent: None, name: format!("n{number}"), ip, namespace }
    }
}

/// A machine, with an agent once one was started.
pub(crate) struct Machine {
    /// Ends before what it runs in.
    agent: Option<Agent>,
    pub(crate) name: String,
    pub(crate) ip: String,
    namespace: Namespace,
}

impl Machine {
    /// Starts the agent and waits until it is ready.
    pub(crate) fn start(&mut self, arguments: &[&str]) {
        let rumor = rumor(&[]);
        let mut command = self.namespace.command(&[rumor.get_program().to_str().unwrap(), "agent", "--json"]);
        command.args(["--name", &self.name, "--bind", &self.ip, "--http", "127.0.0.1:4748", "--log-level", "error"]);
        command.args(arguments);
        self.agent = Some(Agent::of(without_settings(command)));
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("an agent was started here")
    }

    /// As a crash does.
    pub(crate) fn kill(&mut self) {
        self.agent.take().unwrap().process.kill();
    }

    /// Waits until its agent has ended by itself: with which code.
    pub(crate) fn end_of_agent(&mut self) -> Option<i32> {
        let mut agent = self.agent.take().unwrap();
        agent.process.wait_for_end();
        agent.process.child.wait().unwrap().code()
    }

    /// Waits for an event about each of these, itself left out.
    pub(crate) fn wait_for_all(&self, event: &str, members: &[&Self]) {
        let others: Vec<&Agent> =
            members.iter().filter(|member| member.name != self.name).map(|member| member.agent()).collect();
        self.agent().wait_for_each(event, &others);
    }

    /// Looks at all that its agent has told and nobody has waited for: nobody failed.
    pub(crate) fn nobody_failed(&self) {
        self.ask(&["tags", "set", "seen=all"]);
        self.agent().process.wait_for("its own tag", |line| {
            assert_ne!(line["event"], "failed", "at {}: {line}", self.name);
            line["member"]["tags"]["seen"] == "all" && line["member"]["self"] == true
        });
    }

    /// A client command here, not yet started.
    fn command(&self, arguments: &[&str]) -> Command {
        let rumor = rumor(&[]);
        let mut command = self.namespace.command(&[rumor.get_program().to_str().unwrap()]);
        command.args(arguments);
        let mut command = without_settings(command);
        command.env("RUMOR_AGENT", &self.agent().http);
        command
    }

    /// Runs a client command: its exit code, what it printed, and what it said on stderr.
    pub(crate) fn said(&self, arguments: &[&str]) -> (i32, String, String) {
        words(&self.command(arguments).output().unwrap())
    }

    /// Runs a client command with `--json` and reads its document.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let printed = must(self.command(arguments).arg("--json"));
        serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{arguments:?} at {}: {printed}", self.name))
    }

    /// A client command that goes on; a subscription is in force when this returns.
    pub(crate) fn follow(&self, arguments: &[&str]) -> Lines {
        let mut command = self.command(arguments);
        command.arg("--json");
        Lines::of(command)
    }

    /// The members that its agent lists, with their states.
    pub(crate) fn states(&self) -> Vec<String> {
        let members = self.ask(&["members"]);
        let shown =
            |member: &Value| format!("{} {}", member["name"].as_str().unwrap(), member["state"].as_str().unwrap());
        members.as_array().unwrap().iter().map(shown).collect()
    }

    /// Asks again and again until something is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !is_so() {
            assert!(Instant::now() < deadline, "never at {}: {what}", self.name);
        }
    }

    /// Has nftables do something; packets that come in pass the chain `in` of the table `inet test`.
    pub(crate) fn nft(&self, line: &str) {
        must(&mut self.namespace.command(&["nft", line]));
    }

    /// How many packets were dropped on the way in.
    pub(crate) fn dropped(&self) -> u64 {
        self.counted(|line| line.contains("drop"))
    }

    /// How many packets passed the rules with this comment.
    pub(crate) fn packets(&self, comment: &str) -> u64 {
        self.counted(|line| line.contains(&format!("comment \"{comment}\"")))
    }

    fn counted(&self, is_it: impl Fn(&str) -> bool) -> u64 {
        let rules = self.namespace.must("nft list chain inet test in");
        let count =
            |line: &str| line.split_once("counter packets ").unwrap().1.split(' ').next().unwrap().parse::<u64>();
        rules
            .lines()
            .filter(|line| line.contains("counter packets ") && is_it(line))
            .map(|line| count(line).unwrap())
            .sum()
    }

    /// Runs one of the test's own programs here, to its end.
    pub(crate) fn inside(&self, words: &[&str]) {
        must(&mut self.own(words));
    }

    /// Starts one of them, and waits for its first line.
    pub(crate) fn program(&self, words: &[&str]) -> Lines {
        let program = Lines::of(self.own(words));
        program.next();
        program
    }

    fn own(&self, words: &[&str]) -> Command {
        let own = std::env::current_exe().unwrap();
        self.namespace.command(&[&[own.to_str().unwrap(), "inside"], words].concat())
    }
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RUMOR_")) {
        command.env_remove(name);
    }
    command
}
