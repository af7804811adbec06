//! What is packaged is tested as far as it can be without its platform: manifests by Kubernetes' own types, alarms and board against
//! the metrics of a running agent, the unit by systemd's own check, and the steps of the Dockerfile and the Debian package in a
//! directory.
#![expect(clippy::unwrap_used, reason = "a failure here fails the test that asked")]

mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use promql_parser::label::Matcher;
use promql_parser::parser::{self, Expr, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use support::place::{Place, borrowed};
use support::{Agent, not_checked, run, text};

const BINARY: &str = env!("CARGO_BIN_EXE_rumor");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn packaged(path: &str) -> String {
    fs::read_to_string(repository().join("packaging").join(path)).unwrap()
}

/// YAML as Kubernetes and Prometheus read it, where a number that begins with 0 is octal.
fn documents(yaml: &str) -> Vec<Value> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(yaml, options).unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A manifest as its type; what the type does not have would be left out, and is a slip of the pen.
fn typed<T: DeserializeOwned + Serialize + Debug>(document: &Value) -> T {
    let typed: T = serde_json::from_value(document.clone()).unwrap();
    let again = serde_json::to_value(&typed).unwrap();
    assert_eq!(&again, document, "fields that the type does not have, or has in another form");
    typed
}

#[test]
fn the_manifests_are_what_kubernetes_takes_and_fit_together() {
    let all = documents(&packaged("kubernetes/rumor.yaml"));
    let kinds: Vec<&str> = all.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Service", "ConfigMap", "PodDisruptionBudget", "StatefulSet"]);
    let (service, config): (Service, ConfigMap) = (typed(&all[0]), typed(&all[1]));
    let (budget, set): (PodDisruptionBudget, StatefulSet) = (typed(&all[2]), typed(&all[3]));

    let (service_spec, spec) = (service.spec.unwrap(), set.spec.unwrap());
    assert_eq!(service_spec.cluster_ip.as_deref(), Some("None"), "headless");
    assert_eq!(service_spec.publish_not_ready_addresses, Some(true), "the first agents join each other");
    assert_eq!(spec.service_name, service.metadata.name);
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"), "no agent is ready alone");
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    assert_eq!(spec.selector.match_labels.as_ref(), Some(&labels));
    assert_eq!(service_spec.selector.as_ref(), Some(&labels));
    assert_eq!(budget.spec.unwrap().selector.unwrap().match_labels.as_ref(), Some(&labels));

    let pod = spec.template.spec.unwrap();
    let volumes = pod.volumes.unwrap();
    let key = volumes.iter().find_map(|volume| volume.secret.as_ref()).unwrap();
    assert_eq!(key.default_mode, Some(0o400), "only root, and the group that fsGroup adds, read the key");
    let container = &pod.containers[0];
    let ports: BTreeSet<&str> = container.ports.iter().flatten().map(|port| port.name.as_deref().unwrap()).collect();
    for (probe, path) in [(&container.liveness_probe, "/health"), (&container.readiness_probe, "/ready")] {
        let http = probe.as_ref().unwrap().http_get.as_ref().unwrap();
        assert_eq!(http.path.as_deref(), Some(path));
        assert!(ports.contains(&*serde_json::from_value::<String>(serde_json::to_value(&http.port).unwrap()).unwrap()));
    }
    let mounted: BTreeSet<&str> = container.volume_mounts.iter().flatten().map(|mount| &*mount.name).collect();
    let claimed = spec.volume_claim_templates.iter().flatten().map(|claim| claim.metadata.name.as_deref().unwrap());
    let there: BTreeSet<&str> = volumes.iter().map(|volume| &*volume.name).chain(claimed).collect();
    assert_eq!(mounted, there);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rumor.toml");
    fs::write(&file, &config.data.unwrap()["rumor.toml"]).unwrap();
    succeeded(&run(&["config", "check", file.to_str().unwrap()]));
    assert!(fs::read_to_string(&file).unwrap().contains("key_file = \"/run/secrets/rumor/key\""));
    succeeded(&run(&["config", "check", repository().join("packaging/rumor.toml").to_str().unwrap()]));
}

/// What a page of metrics has: names with their labels.
fn samples(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once('=').unwrap());
        (name.to_owned(), labels.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect())
    };
    lines.map(read).collect()
}

/// Collects which series an expression reads.
#[derive(Default)]
struct Selectors(Vec<VectorSelector>);

impl ExprVisitor for Selectors {
    type Error = ();

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, ()> {
        if let Expr::VectorSelector(selector) = expression {
            self.0.push(selector.clone());
        }
        if let Expr::MatrixSelector(selector) = expression {
            self.0.push(selector.vs.clone());
        }
        Ok(true)
    }
}

/// Labels that Prometheus adds, not the agent.
const OF_THE_SCRAPER: [&str; 2] = ["job", "instance"];

/// The series of an expression that no agent has, each word of a choice by itself.
fn missing(expression: &str, samples: &[(String, Vec<(String, String)>)]) -> Vec<String> {
    let parsed = parser::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let mut selectors = Selectors::default();
    walk_expr(&mut selectors, &parsed).unwrap();
    assert!(!selectors.0.is_empty(), "{expression} reads nothing");
    let mut missing = Vec::new();
    for VectorSelector { name, matchers, .. } in
        selectors.0.into_iter().filter(|read| read.name.as_deref() != Some("up"))
    {
        let own: Vec<&Matcher> =
            matchers.matchers.iter().filter(|matcher| !OF_THE_SCRAPER.contains(&&*matcher.name)).collect();
        let fits = |labels: &[(String, String)], matcher: &Matcher| {
            labels.iter().any(|(key, value)| *key == matcher.name && matcher.is_match(value))
        };
        let of_name: Vec<_> = samples.iter().filter(|(sample, _)| Some(sample) == name.as_ref()).collect();
        if !of_name.iter().any(|(_, labels)| own.iter().all(|matcher| fits(labels, matcher))) {
            missing.push(format!("{name:?} {own:?}"));
        }
        for matcher in own {
            for word in
                matcher.value.split('|').filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
            {
                let is_there = of_name
                    .iter()
                    .any(|(_, labels)| labels.iter().any(|(key, value)| *key == matcher.name && value == word));
                if !is_there {
                    missing.push(format!("{name:?} with {} = {word}", matcher.name));
                }
            }
        }
    }
    missing
}

/// What an agent shows that has a key and a certificate that ends, so that whatever is shown is.
fn metrics_of_an_agent() -> Vec<(String, Vec<(String, String)>)> {
    let place = Place::new(&[]);
    let certificate = place.admit("n1", &["--for", "2160h"]);
    samples(&Agent::start("n1", &borrowed(&place.arguments("n1", Some(&certificate)))).metrics())
}

#[test]
fn alarms_and_board_ask_for_nothing_that_an_agent_does_not_show() {
    let samples = metrics_of_an_agent();
    assert_eq!(missing("rumor_members{state=\"alive\"} > 0", &samples), [] as [String; 0]);
    assert_eq!(missing("rumor_nonsense > 0", &samples).len(), 1);
    assert_eq!(missing("rate(rumor_dropped_total{cause=~\"malformed|odd\"}[1m])", &samples).len(), 1);

    let alarms = documents(&packaged("prometheus/alarms.yml"));
    let rules = alarms[0]["groups"][0]["rules"].as_array().unwrap();
    let operations = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let expression = rule["expr"].as_str().unwrap();
        assert_eq!(missing(expression, &samples), [] as [String; 0], "{name}");
        assert!(operations.contains(&format!("| `{name}` |")), "docs/operations.md says what {name} means");
        assert!(rule["annotations"]["summary"].is_string() && rule["labels"]["severity"].is_string(), "{name}");
    }
    let board: Value = serde_json::from_str(&packaged("grafana/board.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.len() > 10);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let expression =
                target["expr"].as_str().unwrap().replace("$__rate_interval", "5m").replace("$instance", ".*");
            assert_eq!(missing(&expression, &samples), [] as [String; 0], "{}", panel["title"]);
        }
    }
}

#[test]
fn every_metric_is_explained_and_no_other() {
    let operations = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let table = operations.split_once("\n## Metrics\n").unwrap().1.split_once("\n## ").unwrap().0;
    let explained: BTreeSet<String> =
        table.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned())).collect();
    let shown: BTreeSet<String> = metrics_of_an_agent().into_iter().map(|(name, _)| name).collect();
    assert_eq!(explained, shown);
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let unit = packaged("systemd/rumor.service");
    for line in ["DynamicUser=yes", "LoadCredential=key:/etc/rumor/key", "StateDirectory=rumor"] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rumor.service");
    fs::write(&path, unit.replace("/usr/bin/rumor", BINARY)).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() else {
        return not_checked("systemd-analyze is missing");
    };
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
    // The flags of its command line are flags of the agent.
    let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/rumor ")).unwrap();
    let help = succeeded(&run(&["agent", "--help"]));
    for flag in started.split(' ').filter(|word| word.starts_with("--")) {
        assert!(help.contains(flag), "{flag}");
    }
}

/// What a directory holds, as paths below it.
fn below(root: &Path) -> BTreeSet<String> {
    let listed = succeeded(&Command::new("find").arg(root).args(["-type", "f", "-printf", "/%P\n"]).output().unwrap());
    listed.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn the_steps_of_the_dockerfile_make_an_image_that_runs() {
    let file = packaged("Dockerfile");
    let steps: Vec<(&str, &str)> =
        file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' ')).collect();
    let all = |word: &str| steps.iter().filter(|step| step.0 == word).map(|step| step.1).collect::<Vec<_>>();
    assert_eq!(all("FROM").len(), 2, "what builds is not what runs");
    assert_eq!(all("USER"), ["65532:65532"]);
    assert_eq!(all("COPY"), [". .", "--from=build /image/ /"]);
    let cargo = "cargo build --release --locked --package rumormill-agent";
    let [built, staged] = all("RUN")[..] else { panic!("two steps: {:?}", all("RUN")) };
    assert_eq!(built, cargo);

    // The first step is what made the binary of this test; the second is run as it stands, into a directory, and by whoever this is.
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let step = staged.replace("target/release/rumor", BINARY).replace("/image", image.to_str().unwrap());
    let step = step.replace(" -o 65532 -g 65532", "");
    succeeded(&Command::new("sh").args(["-euc", &step]).current_dir(repository()).output().unwrap());
    let there = below(&image);
    for path in ["/usr/bin/rumor", "/etc/rumor/rumor.toml", "/usr/share/man/man1/rumor-agent.1.gz"] {
        assert!(there.contains(path), "{path} in {there:?}");
    }
    let data = all("VOLUME")[0];
    assert_eq!(all("ENV"), [format!("RUMOR_DATA_DIR={data}")]);
    assert_eq!(fs::metadata(image.join(data.trim_start_matches('/'))).unwrap().permissions().mode() & 0o777, 0o700);

    let words = |list: &str| serde_json::from_str::<Vec<String>>(list).unwrap();
    let entry = words(all("ENTRYPOINT")[0]);
    assert_eq!(entry, ["/usr/bin/rumor"]);
    let started = words(all("CMD")[0]);
    assert_eq!(started, ["agent", "--config", "/etc/rumor/rumor.toml"]);
    let binary = image.join("usr/bin/rumor");
    let config = image.join("etc/rumor/rumor.toml");
    succeeded(&Command::new(&binary).args(["config", "check"]).arg(config).output().unwrap());
    let (_, check) = all("HEALTHCHECK")[0].split_once("CMD ").unwrap();
    let check = words(check);
    assert_eq!(check[0], "/usr/bin/rumor");
    let agent = Agent::start("n1", &[]);
    let healthy = |url: &str| Command::new(&binary).args(&check[1..]).env("RUMOR_AGENT", url).output().unwrap();
    succeeded(&healthy(&agent.http));
    let gone = agent.http.clone();
    drop(agent);
    assert!(!healthy(&gone).status.success());
}

#[test]
fn the_debian_package_has_what_an_administrator_expects() {
    let directory = tempfile::tempdir().unwrap();
    let script = repository().join("packaging/debian/build");
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return not_checked("dpkg-deb is missing");
    }
    // The binary of a test is large, and how small it gets is no matter here.
    let quick = [("DPKG_DEB_COMPRESSOR_TYPE", "gzip"), ("DPKG_DEB_COMPRESSOR_LEVEL", "1")];
    let built = Command::new(script).arg(BINARY).arg(directory.path()).envs(quick).output().unwrap();
    let package = succeeded(&built).trim().to_owned();
    let field = |name: &str| succeeded(&Command::new("dpkg-deb").args(["--field", &package, name]).output().unwrap());
    assert_eq!((field("Package").trim(), field("Version").trim()), ("rumor", env!("CARGO_PKG_VERSION")));
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));
    let listed = succeeded(&Command::new("dpkg-deb").args(["--contents", &package]).output().unwrap());
    let expected = [
        ("-rwxr-xr-x root/root", "./usr/bin/rumor"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/rumor.service"),
        ("-rw-r--r-- root/root", "./etc/rumor/rumor.toml"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/rumor.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/rumor-register-cas.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/bash-completion/completions/rumor"),
        ("-rw-r--r-- root/root", "./usr/share/zsh/vendor-completions/_rumor"),
        ("-rw-r--r-- root/root", "./usr/share/fish/vendor_completions.d/rumor.fish"),
        ("-rw-r--r-- root/root", "./usr/share/doc/rumor/copyright"),
        ("-rw-r--r-- root/root", "./usr/share/doc/rumor/operations.md"),
    ];
    for (rights, path) in expected {
        let is_it = |line: &&str| line.starts_with(rights) && line.ends_with(&format!(" {path}"));
        assert!(listed.lines().any(|line| is_it(&line)), "{rights} {path} in\n{listed}");
    }
    assert!(!listed.contains("/etc/rumor/key"), "keys are made by people");
    let unpacked = directory.path().join("unpacked");
    succeeded(&Command::new("dpkg-deb").args(["--raw-extract", &package]).arg(&unpacked).output().unwrap());
    assert_eq!(fs::read_to_string(unpacked.join("DEBIAN/conffiles")).unwrap(), "/etc/rumor/rumor.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        let script = unpacked.join("DEBIAN").join(script);
        succeeded(&Command::new("sh").arg("-n").arg(&script).output().unwrap());
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
    }
    let version = succeeded(&Command::new(unpacked.join("usr/bin/rumor")).arg("--version").output().unwrap());
    assert!(version.starts_with("rumor "), "{version}");
}

/// A machine of its own for the scripts of the Debian package: a root directory, and a systemctl that only notes what it is asked.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for directory in ["bin", "run/systemd/system", "var/lib"] {
            fs::create_dir_all(machine.path(directory)).unwrap();
        }
        // What the service is at the start of the machine is a file, so that each test says it.
        let stub = "#!/bin/sh\necho \"$*\" >>\"$ROOT/calls\"\n[ \"$2\" != is-enabled ] || [ -e \"$ROOT/enabled\" ]\n";
        fs::write(machine.path("bin/systemctl"), stub).unwrap();
        fs::set_permissions(machine.path("bin/systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn make(&self, path: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), "").unwrap();
    }

    /// Runs a script as dpkg does, with all paths below the root, and says what it asked of systemd.
    fn asked(&self, script: &str, arguments: &[&str]) -> Vec<String> {
        let root = self.0.path().to_str().unwrap();
        let text = packaged(&format!("debian/{script}"));
        let below = text.replace("/run/", &format!("{root}/run/")).replace("/var/", &format!("{root}/var/"));
        let file = self.path(script);
        fs::write(&file, below).unwrap();
        let path = format!("{root}/bin:/usr/bin:/bin");
        let mut command = Command::new("sh");
        succeeded(&command.arg(&file).args(arguments).envs([("PATH", &*path), ("ROOT", root)]).output().unwrap());
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        fs::remove_file(self.path("calls")).ok();
        calls.lines().map(ToOwned::to_owned).collect()
    }
}

#[test]
fn the_scripts_of_the_debian_package_ask_of_systemd_what_they_should_and_remove_what_is_theirs() {
    // The scripts name no other directory, so that all they change is below the root of the test.
    for script in ["postinst", "prerm", "postrm"] {
        let text = packaged(&format!("debian/{script}"));
        let code = text.lines().filter(|line| !line.starts_with('#'));
        let words = code.flat_map(|line| line.split([' ', ';'])).filter(|word| word.starts_with('/'));
        let others: Vec<&str> = words
            .filter(|word| !["/run/systemd/system", "/var/lib/"].iter().any(|own| word.starts_with(own)))
            .collect();
        assert_eq!(others, [] as [&str; 0], "{script}");
    }
    let begun = ["daemon-reload", "enable rumor.service", "restart rumor.service"];
    let stopped = ["--quiet is-enabled rumor.service", "disable --now rumor.service"];
    let machine = Machine::new();
    let removed = machine.path("var/lib/rumor.removed");

    assert_eq!(machine.asked("postinst", &["configure", ""]), begun, "the first time");
    machine.make("enabled");
    // An upgrade: the old prerm, then the new postinst. What was stopped or disabled stays so.
    assert_eq!(machine.asked("prerm", &["upgrade", "2.0"]), [] as [&str; 0]);
    assert_eq!(machine.asked("postrm", &["upgrade", "2.0"]), ["daemon-reload"]);
    assert_eq!(machine.asked("postinst", &["configure", "1.0"]), ["daemon-reload", "try-restart rumor.service"]);
    assert_eq!(machine.asked("postinst", &["abort-upgrade", "2.0"]), [] as [&str; 0]);

    // Removed and installed again, it starts with the machine as before; what it kept is there.
    for kept in ["var/lib/rumor/node", "var/lib/private/rumor/node", "etc/rumor/key"] {
        machine.make(kept);
    }
    assert_eq!(machine.asked("prerm", &["remove"]), stopped);
    assert!(removed.exists());
    assert_eq!(machine.asked("postrm", &["remove"]), ["daemon-reload"]);
    assert!(machine.path("var/lib/rumor/node").exists());
    assert_eq!(machine.asked("postinst", &["configure", "1.0"]), begun);
    assert!(!removed.exists());

    // Whoever had it disabled finds it so.
    fs::remove_file(machine.path("enabled")).unwrap();
    assert_eq!(machine.asked("prerm", &["remove"]), stopped);
    assert!(!removed.exists());
    assert_eq!(machine.asked("postinst", &["configure", "1.0"]), ["daemon-reload", "try-restart rumor.service"]);

    // A purge leaves the key alone, and nothing else.
    machine.make("var/lib/rumor.removed");
    assert_eq!(machine.asked("postrm", &["purge"]), ["daemon-reload"]);
    for gone in ["var/lib/rumor", "var/lib/private/rumor", "var/lib/rumor.removed"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    assert!(machine.path("etc/rumor/key").exists());

    // In a container without systemd there is nobody to ask.
    fs::remove_dir_all(machine.path("run/systemd")).unwrap();
    for (script, action) in [("postinst", "configure"), ("prerm", "remove"), ("postrm", "remove"), ("postrm", "purge")]
    {
        assert_eq!(machine.asked(script, &[action, ""]), [] as [&str; 0], "{script} {action}");
    }
}
