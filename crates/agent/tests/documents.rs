//! What the commands print and what HTTP answers, on one small cluster.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use serde_json::{Value, json};
use support::{Agent, Lines, text, until_all_know_all};

/// The keys of a document, sorted.
fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn members_and_info_have_their_documented_fields() {
    let n1 = Agent::start("n1", &["--tag", "rack=7"]);
    let n2 = Agent::join("n2", &n1, &[]);
    until_all_know_all(&[&n1, &n2]);

    let members = n1.ask(&["members"]);
    assert_eq!(members[0]["self"], true);
    assert_eq!(
        keys(&members[1]),
        ["address", "id", "incarnation", "name", "protocol", "rtt", "self", "since", "state", "tags", "view"]
    );
    assert_eq!(n2.ask(&["members", "--tag", "rack=7"])[0]["name"], "n1");
    assert_eq!(n2.ask(&["members", "--state", "dead"]), json!([]));

    let info = n1.ask(&["info"]);
    assert_eq!(info["members"], json!({ "alive": 2, "suspect": 0, "dead": 0, "left": 0 }));
    assert_eq!((&info["preset"], &info["mode"], &info["sealed"]), (&"lan".into(), &"push-pull".into(), &false.into()));
    assert!(info["data_dir"].is_null() && info["uptime"].is_number());
}

#[test]
fn a_message_is_published_subscribed_and_traced() {
    let n1 = Agent::start("n1", &[]);
    let n2 = Agent::join("n2", &n1, &[]);
    until_all_know_all(&[&n1, &n2]);

    let lines = n1.ask_lines(&["publish", "news", "hello", "--trace"]);
    assert_eq!(lines[0], json!({ "topic": "news", "origin": "n1", "sequence": "1", "bytes": 5 }));
    assert_eq!((&lines[1]["node"], &lines[1]["hop"], &lines[1]["from"]), (&"n1".into(), &0.into(), &Value::Null));
    assert_eq!((&lines[2]["node"], &lines[2]["hop"], &lines[2]["from"]), (&"n2".into(), &1.into(), &"n1".into()));
    assert_eq!(lines[3], json!({ "done": true, "reached": 2, "members": 2, "estimated": false, "payloads": 1 }));

    let message = &n2.ask_lines(&["subscribe", "news", "--history", "5", "--count", "1"])[0];
    assert_eq!(
        (&message["payload"], &message["origin_id"], &message["hops"]),
        (&"hello".into(), &n1.id.clone().into(), &1.into())
    );
    assert!(message["published_at"].is_number() && message["received_at"].is_number());

    let output = n1.command(&["trace", "news", "n2:77", "--json", "--timeout", "200ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn a_query_gathers_the_answers_of_all_and_a_command_may_answer() {
    let n1 = Agent::start("n1", &[]);
    let n2 = Agent::join("n2", &n1, &["--tag", "role=db"]);
    until_all_know_all(&[&n1, &n2]);

    let lines = n1.ask_lines(&["query", "ping"]);
    let mut names: Vec<&str> = lines.iter().filter_map(|line| line["from"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["n1", "n2"]);
    let end = lines.last().unwrap();
    assert_eq!((&end["done"], &end["asked"], &end["answered"]), (&true.into(), &2.into(), &2.into()));
    assert_eq!(end["estimated"], false);

    let answer = &n1.ask_lines(&["query", "info", "--tag", "role=db"])[0];
    let info: Value = serde_json::from_str(answer["payload"].as_str().unwrap()).unwrap();
    assert_eq!(info["id"], n2.id.as_str());

    let answering = Lines::of(n2.command(&["answer", "shout", "--json", "--", "tr", "a-z", "A-Z"]));
    let asking =
        || n1.command(&["query", "shout", "hey", "--tag", "role=db", "--timeout", "1s", "--json"]).output().unwrap();
    // The handler is in force some time after its process was started.
    let output = (0..60).map(|_| asking()).find(|output| output.status.success()).expect("an answer");
    let line: Value = serde_json::from_str(text(&output.stdout).lines().next().unwrap()).unwrap();
    assert_eq!((&line["from"], &line["payload"]), (&"n2".into(), &"HEY".into()));
    assert_eq!(answering.next()["from"], "n1");
}

#[test]
fn tags_change_everywhere() {
    let n1 = Agent::start("n1", &["--tag", "a=1"]);
    let n2 = Agent::join("n2", &n1, &[]);
    until_all_know_all(&[&n1, &n2]);
    assert_eq!(n1.ask(&["tags", "set", "b=2"]), json!({ "tags": { "a": "1", "b": "2" } }));
    assert_eq!(n1.ask(&["tags", "delete", "a"]), json!({ "tags": { "b": "2" } }));
    n2.process.wait_for("the tag", |line| line["member"]["tags"] == json!({ "b": "2" }));
}

#[test]
fn topics_are_listed_with_what_is_held_of_them() {
    let n1 = Agent::start("n1", &[]);
    let topics = |query: &str| {
        let path = format!("GET /v1/topics{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = n1.http(&path);
        serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    assert_eq!(topics(""), json!([]));
    for (topic, message) in [("news", "one"), ("alarms", "fire"), ("news", "two")] {
        n1.ask(&["publish", topic, message]);
    }
    let listed = topics("");
    assert_eq!(keys(&listed[0]), ["bytes", "last", "messages", "topic"]);
    let counted: Vec<Value> =
        listed.as_array().unwrap().iter().map(|topic| json!([topic["topic"], topic["messages"]])).collect();
    assert_eq!(counted, [json!(["alarms", 1]), json!(["news", 2])]);
    assert!(
        listed[0]["last"].as_f64() <= listed[1]["last"].as_f64() && listed[0]["bytes"].as_u64() > Some(4),
        "{listed}"
    );
    assert_eq!(topics("?limit=1"), json!([listed[1]]), "the one on which something was said last");
}

#[test]
fn errors_over_http_name_code_field_value_and_rule() {
    let n1 = Agent::start("n1", &[]);
    let problem = |request: &str| {
        let answer = n1.http(request);
        assert!(answer.contains("content-type: application/problem+json"), "{answer}");
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(keys(&body), ["code", "detail", "field", "rule", "value"]);
        (status, body["code"].as_str().unwrap().to_owned())
    };
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    assert_eq!(problem(&get("/v1/members/nobody", "localhost")), (404, "absent".to_owned()));
    assert_eq!(problem(&get("/v1/nothing", "localhost")), (404, "absent".to_owned()));
    assert_eq!(problem(&get("/v1/info", "example.org")), (421, "wrong_host".to_owned()));
    assert_eq!(problem(&get("/v1/topics/a%2Ab", "localhost")), (422, "value".to_owned()));
    assert_eq!(problem(&get("/v1/faults", "localhost")), (409, "no_faults".to_owned()));
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    assert_eq!(problem(&post("/v1/topics/news", &"x".repeat((1 << 20) + 1))), (413, "value".to_owned()));
    assert_eq!(problem(&post("/v1/join", "{}")), (422, "request".to_owned()));
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let n1 = Agent::start("n1", &[]);
    let detail = |request: &str| {
        let answer = n1.http(request);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["detail"].as_str().unwrap().to_owned()
    };
    let end = "host: localhost\r\nconnection: close";
    let join = |kind: &str, body: &str| {
        detail(&format!("POST /v1/join HTTP/1.1\r\n{end}\r\n{kind}content-length: {}\r\n\r\n{body}", body.len()))
    };
    let json = "content-type: application/json\r\n";
    assert_eq!(join(json, "{broken"), "the body is not JSON: key must be a string at line 1 column 2");
    let misfit = join(json, "{}");
    assert!(misfit.starts_with("the body is JSON, but not what is taken here: missing field `contacts`"), "{misfit}");
    let unsaid = "the body must be JSON, and the header `Content-Type: application/json` say so";
    assert_eq!(join("", "{}"), unsaid);
    let query = detail(&format!("GET /v1/topics?limit=many HTTP/1.1\r\n{end}\r\n\r\n"));
    assert!(query.starts_with("the query behind `?` is not what is taken here: limit"), "{query}");
    let route = detail(&format!("GET /v1/nothing HTTP/1.1\r\n{end}\r\n\r\n"));
    assert_eq!(route, "no such resource; /v1/openapi.json lists them");
    let method = detail(&format!("DELETE /v1/info HTTP/1.1\r\n{end}\r\n\r\n"));
    assert_eq!(method, "this resource does not take this method");
    let foreign = detail(&format!("GET /v1/info HTTP/1.1\r\n{end}\r\norigin: http://evil.example\r\n\r\n"));
    assert_eq!(foreign, "pages of http://evil.example may not speak to this agent");
}

#[test]
fn the_description_of_the_interface_names_the_methods_that_are_served() {
    let n1 = Agent::start("n1", &[]);
    let answer = n1.http("GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let description: Value = serde_json::from_str(body).unwrap();
    let paths = keys(&description["paths"]);
    for path in ["/health", "/ready", "/v1/events", "/v1/info", "/v1/members", "/v1/topics/{topic}"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    for path in paths {
        let methods = keys(&description["paths"][path]).join(",").to_uppercase();
        let path = path.replace(['{', '}'], "");
        let answer = n1.http(&format!("OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        let allowed = answer.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_default();
        let mut allowed: Vec<&str> = allowed.split(',').filter(|method| *method != "HEAD").collect();
        allowed.sort_unstable();
        if path.starts_with("/v1/data/") {
            // Behind it stands a key, which may look like the path of an action.
            assert!(methods.split(',').all(|method| allowed.contains(&method)), "{path}: {answer}");
        } else {
            assert_eq!(allowed.join(","), methods, "{path}: {answer}");
        }
    }
}

#[test]
fn health_and_readiness_are_one_word() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let alone = Agent::start("n1", &[]);
    let joining = Agent::start("n2", &["--join", &nobody]);
    for (agent, path, status, word) in [
        (&alone, "/health", "200", "ok"),
        (&alone, "/ready", "200", "ready"),
        (&joining, "/health", "200", "ok"),
        (&joining, "/ready", "503", "joining"),
    ] {
        let answer = agent.http(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{word}")), "{answer}");
    }
}
