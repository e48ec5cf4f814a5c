//! The table, the code, the docs and the alert rules tell of the same figures.

use std::{collections::BTreeSet, fs, path::Path};

use yaml_rust2::{Yaml, YamlLoader};

use super::*;
use crate::{count, observe};

/// Families that a histogram has besides its name.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// Figures that are not in the table: those of every Prometheus client.
const PROCESS: [&str; 6] = [
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_threads",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All names that begin as the hub's do in a text; with their quotes, in code.
fn names(text: &str, before: &str) -> BTreeSet<String> {
    let begin = format!("{before}hubbub_");
    let starts = text.match_indices(&begin).map(|(at, _)| at + before.len());
    let is_of_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    starts.map(|at| text[at..].chars().take_while(|c| is_of_name(*c)).collect()).collect()
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if !path.ends_with("telemetry/table.rs") && !path.ends_with("telemetry/tests.rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn what_is_counted_is_in_the_table_and_the_other_way_round() {
    let mut code = String::new();
    sources(&root().join("src"), &mut code);
    let counted = names(&code, "\"");
    assert!(counted.len() > 40, "{counted:?}");
    let unknown: Vec<_> = counted.iter().filter(|name| metric(name).is_none()).collect();
    assert!(unknown.is_empty(), "counted, but not in METRICS: {unknown:?}");
    let of_cache = |name: &str| name.starts_with("hubbub_cache_") || name == "hubbub_store_queries_total";
    let idle = METRICS.iter().map(|metric| metric.name).filter(|name| !counted.contains(*name) && !of_cache(name));
    let idle: Vec<_> = idle.collect();
    assert!(idle.is_empty(), "in METRICS, but counted nowhere: {idle:?}");
}

#[test]
fn names_follow_the_habits_of_prometheus() {
    let mut seen = BTreeSet::new();
    for Metric { name, kind, help, .. } in METRICS {
        assert!(seen.insert(name), "{name} stands twice in the table");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}: counters, and only they, end in _total");
        assert!(name.starts_with("hubbub_") && !help.is_empty() && !help.ends_with('.'), "{name}");
        if let Kind::Histogram(bounds) = kind {
            assert!(bounds.is_sorted_by(|a, b| a < b), "the bounds of {name} rise");
        }
    }
}

#[test]
fn the_docs_tell_of_every_figure_with_its_labels() {
    let docs = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let told: BTreeSet<_> = names(&docs, "`");
    for metric in METRICS {
        let row = docs.lines().find(|line| line.starts_with(&format!("| `{}` |", metric.name)));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md has no row for {}", metric.name));
        for label in metric.labels {
            assert!(row.contains(&format!("`{label}`")), "the row of {} does not name `{label}`", metric.name);
        }
    }
    let stale: Vec<_> = told.iter().filter(|name| metric(name).or(family(name)).is_none()).collect();
    assert!(stale.is_empty(), "docs/metrics.md tells of {stale:?}, which do not exist");
    for name in PROCESS {
        assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not tell of {name}");
    }
}

/// The figure that a name in an expression is of.
fn family(name: &str) -> Option<&'static Metric> {
    let of_histogram = OF_HISTOGRAMS.iter().filter_map(|suffix| metric(name.strip_suffix(suffix)?));
    metric(name)
        .filter(|metric| !matches!(metric.kind, Kind::Histogram(_)))
        .or_else(|| of_histogram.into_iter().find(|metric| matches!(metric.kind, Kind::Histogram(_))))
}

/// Names, label names and brackets of an expression, judged without a Prometheus.
fn judge(expression: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut in_text = false;
    for c in expression.chars() {
        match c {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let fits = matches!((open.pop(), c), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}'));
                fits.then_some(()).ok_or("brackets do not match")?;
            }
            _ => {}
        }
    }
    if in_text || !open.is_empty() {
        return Err("a bracket or text is not closed".into());
    }
    let used = names(expression, "");
    for name in &used {
        let metric = family(name).ok_or_else(|| format!("{name} is not a figure of the hub"))?;
        for selector in expression.split(name.as_str()).skip(1).filter_map(|rest| rest.strip_prefix('{')) {
            let (selector, _) = selector.split_once('}').unwrap_or_default();
            for matcher in selector.split(',') {
                let label = matcher.split(['=', '!']).next().unwrap_or_default().trim();
                if !metric.labels.contains(&label) && label != "le" {
                    return Err(format!("{name} has no label {label}"));
                }
            }
        }
        if metric.kind == Kind::Counter {
            let grows = |function: &str| expression.contains(&format!("{function}({name}"));
            if !grows("rate") && !grows("increase") {
                return Err(format!("{name} is a counter: only its rate or increase means something"));
            }
        }
    }
    let known_process = PROCESS.iter().any(|name| expression.contains(name));
    if used.is_empty() && !known_process && !expression.contains("up{") {
        return Err("names no figure".into());
    }
    Ok(())
}

fn text<'a>(yaml: &'a Yaml, path: &[&str]) -> &'a str {
    let value = path.iter().fold(yaml, |yaml, key| &yaml[*key]);
    value.as_str().unwrap_or_else(|| panic!("{path:?} is no text in {yaml:?}"))
}

#[test]
fn the_alert_rules_are_whole_and_name_figures_that_exist() {
    let rules = fs::read_to_string(root().join("deploy/prometheus-alerts.yml")).unwrap();
    let rules = YamlLoader::load_from_str(&rules).unwrap();
    assert_eq!(rules.len(), 1);
    let mut alerts = BTreeSet::new();
    for group in rules[0]["groups"].as_vec().unwrap() {
        assert!(!text(group, &["name"]).is_empty());
        for rule in group["rules"].as_vec().unwrap() {
            let name = text(rule, &["alert"]);
            assert!(alerts.insert(name.to_owned()), "{name} stands twice");
            let keys: Vec<_> = rule.as_hash().unwrap().keys().filter_map(Yaml::as_str).collect();
            assert_eq!(keys, ["alert", "expr", "for", "labels", "annotations"], "{name}");
            if let Err(fault) = judge(text(rule, &["expr"])) {
                panic!("{name}: {fault}");
            }
            let patience = text(rule, &["for"]);
            let number = patience.strip_suffix(['s', 'm', 'h']).and_then(|number| number.parse::<u32>().ok());
            assert!(number.is_some(), "{name}: `{patience}` is no time");
            assert!(matches!(text(rule, &["labels", "severity"]), "warning" | "critical"), "{name}");
            assert!(!text(rule, &["annotations", "summary"]).is_empty(), "{name}");
            assert!(text(rule, &["annotations", "description"]).len() > 20, "{name} says what to do");
        }
    }
    let watched = [
        "HubbubCacheHitRateLow",
        "HubbubCacheSlow",
        "HubbubErrorRateHigh",
        "HubbubRedisMemoryHigh",
        "HubbubRedisEvicts",
        "HubbubDegraded",
        "HubbubDatabaseAway",
        "HubbubHolesNotHealing",
    ];
    for name in watched {
        assert!(alerts.contains(name), "{name} is watched");
    }
}

#[test]
fn the_judge_of_expressions_sees_faults() {
    for good in ["hubbub_bus_up == 0", "sum(rate(hubbub_append_seconds_bucket{le=\"1\"}[5m])) by (le)"] {
        assert_eq!(judge(good), Ok(()), "{good}");
    }
    for bad in [
        "hubbub_bus_down == 0",
        "sum(rate(hubbub_append_seconds[5m]))",
        "hubbub_deliveries_total > 5",
        "rate(hubbub_http_requests_total{code=\"500\"}[5m])",
        "rate(hubbub_deliveries_total[5m]",
        "1 > 0",
    ] {
        assert!(judge(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_counted_is_told() {
    let recorder = Recorder::install();
    count!("hubbub_rooms_died_total"; 2);
    count!("hubbub_joins_total", "outcome" => "granted");
    observe!("hubbub_append_batch_messages", 3.0);
    let text = recorder.render();
    let value = |line: &str| text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
    assert!(value("hubbub_rooms_died_total ").is_some_and(|died| died >= 2.0), "{text}");
    assert!(value("hubbub_joins_total{outcome=\"granted\"} ").is_some_and(|joins| joins >= 1.0), "{text}");
    assert!(value("hubbub_append_batch_messages_bucket{le=\"5\"} ").is_some_and(|count| count >= 1.0), "{text}");
    assert!(text.contains("# HELP hubbub_joins_total Joins of rooms"), "{text}");
    for metric in METRICS.iter().filter(|metric| metric.labels.is_empty()) {
        assert!(text.contains(&format!("\n{}", metric.name)), "{} is shown from the start", metric.name);
    }
}
