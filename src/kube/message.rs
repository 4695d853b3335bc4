//! Reading the cluster's own messages. Schedulers, kubelets and runtimes explain themselves in prose; here it
//! becomes the short form a person needs. Whatever is not recognised is quoted, never dropped.

use super::wording;

/// `0/4 nodes are available: 1 Insufficient memory, 3 node(s) had untolerated taint {…}. preemption: …` is
/// "0 of 4 nodes: 1 too little memory, 3 tainted".
pub fn unschedulable(message: &str) -> String {
    let Some((nodes, causes)) = message.split_once(" nodes are available: ") else {
        return wording::quote(message, 160);
    };
    let causes = causes.split(". ").next().unwrap_or(causes).trim_end_matches('.');
    let mut counted: Vec<(u32, String)> = Vec::new();
    for cause in split_outside_braces(causes) {
        let (number, what) = cause.split_once(' ').unwrap_or(("", cause));
        let (number, what) = match number.parse() {
            Ok(number) => (number, scheduler_word(what)),
            Err(_) => (0, cause.to_string()),
        };
        match counted.iter_mut().find(|(_, known)| *known == what) {
            Some((sum, _)) => *sum += number,
            None => counted.push((number, what)),
        }
    }
    let word = |(number, what): (u32, String)| if number == 0 { what } else { format!("{number} {what}") };
    let causes: Vec<String> = counted.into_iter().map(word).collect();
    format!("{} nodes: {}", nodes.replace('/', " of "), causes.join(", "))
}

fn scheduler_word(cause: &str) -> String {
    let cause = cause.trim();
    if let Some(resource) = cause.strip_prefix("Insufficient ") {
        return match resource {
            "cpu" => "too little CPU".into(),
            other => format!("too little {other}"),
        };
    }
    let says = |word: &str| cause.contains(word);
    if says("untolerated taint") {
        "tainted".into()
    } else if says("Too many pods") {
        "full of pods".into()
    } else if says("anti-affinity") {
        "kept apart by anti-affinity".into()
    } else if says("affinity") || says("selector") {
        "of the wrong kind".into()
    } else if says("topology spread") {
        "outside the topology spread".into()
    } else if says("unschedulable") {
        "closed for new pods".into()
    } else if says("free ports") {
        "with the port taken".into()
    } else if says("volume") || says("persistentvolume") {
        "out of reach of the volume".into()
    } else {
        cause.to_string()
    }
}

/// At ", " but not inside a taint's `{key: value, …}`.
fn split_outside_braces(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0usize, 0);
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// What a container's environment or volume names and the namespace does not have.
pub fn missing_configuration(message: &str) -> Option<String> {
    let quoted = |text: &str| text.split('"').nth(1).map(str::to_string);
    if let Some((_, rest)) = message.split_once("couldn't find key ") {
        // couldn't find key url in Secret payments-staging/checkout-db
        let (key, place) = rest.split_once(" in ")?;
        let (kind, name) = place.split_once(' ')?;
        let name = name.rsplit('/').next().unwrap_or(name).trim();
        return Some(format!("{kind} {name} has no key {key}"));
    }
    if let Some((_, rest)) = message.split_once("references non-existent secret key: ") {
        return Some(format!("a Secret has no key {}", rest.trim()));
    }
    if let Some((_, rest)) = message.split_once("references non-existent config key: ") {
        return Some(format!("a ConfigMap has no key {}", rest.trim()));
    }
    if !message.contains("not found") {
        return None;
    }
    let after = |word: &str| message.split_once(word).and_then(|(_, rest)| quoted(rest));
    if let Some(name) = after("secret ") {
        return Some(format!("Secret {name} is missing"));
    }
    if let Some(name) = after("configmap ") {
        return Some(format!("ConfigMap {name} is missing"));
    }
    after("persistentvolumeclaim ").map(|name| format!("PersistentVolumeClaim {name} is missing"))
}

/// The runtime wraps its answer in layers; the innermost is the one that says something:
/// `exec: "/usr/bin/x": stat /usr/bin/x: no such file or directory`.
pub fn runtime_error(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let inner = line.rfind("exec: ").map_or(line, |at| &line[at..]);
    let inner = if inner == line { line.rsplit("desc = ").next().unwrap_or(line) } else { inner };
    wording::quote(inner.trim_end_matches(": unknown"), 160)
}

/// The part of a log line that a sentence can quote: the message of a JSON line, else the line itself.
pub fn log_words(line: &str) -> String {
    let json: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(line).ok();
    let Some(json) = json else { return wording::quote(line, 160) };
    let field = |names: &[&str]| names.iter().find_map(|name| json.get(*name)?.as_str());
    match (field(&["msg", "message"]), field(&["error", "err"])) {
        (Some(message), Some(error)) => wording::quote(&format!("{message}: {error}"), 160),
        (Some(words), None) | (None, Some(words)) => wording::quote(words, 160),
        (None, None) => wording::quote(line, 160),
    }
}

/// What a probe met: "answers 503", "nothing listens there", "takes too long".
pub fn probe_answer(message: &str) -> Option<String> {
    if let Some((_, code)) = message.split_once("statuscode: ") {
        return Some(format!("answers {}", code.trim()));
    }
    if message.contains("connection refused") {
        return Some("nothing listens there".into());
    }
    if message.contains("deadline exceeded") || message.contains("timeout") {
        return Some("takes too long".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedulers_message_is_condensed() {
        let message = "0/3 nodes are available: 1 node(s) had untolerated taint {a: b, c: d}, 2 Insufficient memory. \
                       preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
        assert_eq!(unschedulable(message), "0 of 3 nodes: 1 tainted, 2 too little memory");
        assert_eq!(unschedulable("pod has unbound claims"), "pod has unbound claims");
    }

    #[test]
    fn two_taints_are_counted_together() {
        let message = "0/5 nodes are available: 2 node(s) had untolerated taint(s) {x: y}, 3 node(s) had untolerated taint {z: }.";
        assert_eq!(unschedulable(message), "0 of 5 nodes: 5 tainted");
    }

    #[test]
    fn missing_configuration_is_named() {
        let missing = |message| missing_configuration(message).unwrap_or_default();
        assert_eq!(missing(r#"secret "db" not found"#), "Secret db is missing");
        assert_eq!(missing(r#"configmap "flags" not found"#), "ConfigMap flags is missing");
        assert_eq!(missing("couldn't find key url in Secret shop/db"), "Secret db has no key url");
        assert_eq!(
            missing("couldn't find key a.b in ConfigMap shop/flags"),
            "ConfigMap flags has no key a.b"
        );
        assert_eq!(missing_configuration("container has runAsNonRoot and image will run as root"), None);
    }

    #[test]
    fn the_runtimes_onion_is_peeled() {
        let message = r#"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/nope": stat /nope: no such file or directory: unknown"#;
        assert_eq!(runtime_error(message), r#"exec: "/nope": stat /nope: no such file or directory"#);
    }

    #[test]
    fn a_json_log_line_is_quoted_by_its_message() {
        assert_eq!(
            log_words(r#"{"level":"ERROR","msg":"cannot start","error":"no database"}"#),
            "cannot start: no database"
        );
        assert_eq!(log_words(r#"{"level":"ERROR"}"#), r#"{"level":"ERROR"}"#);
        assert_eq!(log_words("panic: oh no"), "panic: oh no");
    }

    #[test]
    fn probes_say_what_they_met() {
        let met = |message| probe_answer(message).unwrap_or_default();
        assert_eq!(met("Readiness probe failed: HTTP probe failed with statuscode: 503"), "answers 503");
        assert_eq!(met("dial tcp 10.88.0.5:8080: connect: connection refused"), "nothing listens there");
        assert_eq!(met("context deadline exceeded (Client.Timeout exceeded)"), "takes too long");
    }
}
