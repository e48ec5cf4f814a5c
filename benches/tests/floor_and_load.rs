//! Both binaries against each other: the account must balance when all is well, and show what the floor leaves out
//! or repeats on purpose.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

struct Floor {
    child: Child,
    address: String,
}

impl Floor {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_floor"))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the floor starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let (_, address) = line.trim().split_once("http://").expect("an address");
        Self { child, address: address.to_owned() }
    }

    /// The report of a run as (key, value), with quotes left where a value is a text.
    fn load(&self, arguments: &[&str]) -> Vec<(String, String)> {
        let output = Command::new(env!("CARGO_BIN_EXE_load"))
            .args(arguments)
            .args(["--json", "--target", "floor", "--addr", &self.address])
            .args(["--server-pid", &self.child.id().to_string()])
            .output()
            .expect("the generator runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let json = String::from_utf8(output.stdout).expect("text");
        json.trim()
            .trim_matches(['{', '}'])
            .split(',')
            .filter_map(|field| field.split_once(':'))
            .map(|(key, value)| (key.trim_matches('"').to_owned(), value.to_owned()))
            .collect()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.child.kill().expect("it runs until now");
        self.child.wait().expect("it ends");
    }
}

fn figure(report: &[(String, String)], key: &str) -> f64 {
    let value = report.iter().find(|(k, _)| k == key).unwrap_or_else(|| panic!("no {key} in {report:?}"));
    value.1.parse().expect("a number")
}

const SHORT: [&str; 11] =
    ["fanout", "--conns", "20", "--rooms", "2", "--rate", "100", "--seconds", "1", "--warm-up", "0.2"];

#[test]
fn every_delivery_is_accounted_for() {
    let floor = Floor::start(&[]);
    let report = floor.load(&SHORT);
    assert_eq!(figure(&report, "sent"), 100.0);
    assert_eq!(figure(&report, "expected"), 1_000.0);
    assert_eq!(figure(&report, "delivered"), 1_000.0);
    for none in ["lost", "duplicates", "unknown", "unsent", "closed", "errors"] {
        assert_eq!(figure(&report, none), 0.0, "{none}");
    }
    assert_eq!(figure(&report, "frame_bytes"), 400.0);
}

#[test]
fn what_is_left_out_is_counted_as_lost() {
    let floor = Floor::start(&["--drop-every", "10"]);
    let report = floor.load(&[&SHORT[..], &["--drain", "0.5"]].concat());
    assert_eq!(figure(&report, "lost"), 100.0);
    assert_eq!(figure(&report, "delivered"), 900.0);
    assert_eq!(figure(&report, "duplicates"), 0.0);
}

#[test]
fn what_is_repeated_is_counted_as_a_duplicate_and_hides_no_loss() {
    let floor = Floor::start(&["--drop-every", "10", "--repeat-every", "4"]);
    let report = floor.load(&[&SHORT[..], &["--drain", "0.5"]].concat());
    assert_eq!(figure(&report, "lost"), 100.0);
    // Every fourth, except where it is also a tenth: 250 - 50.
    assert_eq!(figure(&report, "duplicates"), 200.0);
}

#[test]
fn what_a_floor_with_a_log_sends_is_in_it() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/floor.log");
    let floor = Floor::start(&["--tick-ms", "8", "--frame-bytes", "300", "--log", file]);
    let report = floor.load(&SHORT);
    assert_eq!(figure(&report, "lost"), 0.0);
    assert_eq!(figure(&report, "duplicates"), 0.0);
    let log = std::fs::read(file).expect("the log");
    let frames = log.chunks(4 + 300).take_while(|frame| frame[0] != 0).count() as f64;
    assert!(frames >= figure(&report, "sent"), "{frames}");
}

#[test]
fn cursors_of_the_others_arrive_coalesced_and_in_time() {
    let floor = Floor::start(&["--tick-ms", "20", "--frame-bytes", "100"]);
    let report = floor.load(&["cursors", "--people", "10", "--hz", "20", "--seconds", "1", "--warm-up", "0.2"]);
    let share = figure(&report, "updates_share");
    assert!((0.95..=1.0).contains(&share), "{share} of the positions arrived");
    assert!(figure(&report, "staleness_p50_ms") > 1.0, "nothing is faster than half a tick in the median");
    assert!(figure(&report, "age_p99_ms") > figure(&report, "staleness_p99_ms"));
}

#[test]
fn idle_connections_stay_joined() {
    let floor = Floor::start(&[]);
    let report = floor.load(&["idle", "--conns", "300", "--rooms", "3", "--seconds", "0.5"]);
    assert_eq!(figure(&report, "still_joined"), 300.0);
    assert_eq!(figure(&report, "closed"), 0.0);
}

#[test]
fn a_ramp_ends_below_the_rate_that_no_longer_holds() {
    // Losses end a ramp as well as latency does: the floor leaves out its 20,001st delivery.
    let floor = Floor::start(&["--drop-every", "20001"]);
    let ramp = ["fanout", "--ramp", "--conns", "20", "--rate", "100", "--ramp-factor", "3"];
    let report = floor.load(&[&ramp[..], &["--seconds", "0.5", "--warm-up", "0.1", "--drain", "0.3"]].concat());
    assert_eq!(figure(&report, "lost"), 0.0, "the best step is a clean one");
    assert!(figure(&report, "rate") >= 100.0);
    assert!(figure(&report, "steps") >= 4.0);
}
