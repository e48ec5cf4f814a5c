//! What a person sees on the page, and how a test waits for it.
//!
//! What must come true is watched for inside the page, at every change of the document, so that nothing short is missed
//! and nothing is polled from outside.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{PATIENCE, Page};

/// Evaluates `look` at every change of the document, and now and then, until it gives something that is true.
const WATCH: &str = "
    const [patienceMs, done] = arguments;
    const end = performance.now() + patienceMs;
    let problem = '';
    const check = () => {
        let value = null;
        try { value = look(); } catch (error) { problem = String(error); }
        if (!value && performance.now() < end) return;
        observer.disconnect();
        clearInterval(timer);
        done(value ? { value } : { problem, page: document.body.innerText });
    };
    const observer = new MutationObserver(check);
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    const timer = setInterval(check, 100);
    check();
";

/// Everyone in the bar, as screen readers are told.
const PEOPLE: &str = "[...document.querySelectorAll('[data-testid=member] .sr-only')].map(e => e.textContent)";
/// A person's cursor on the board, their name in the place of NAME.
const CURSOR: &str = "document.querySelector('[data-testid=cursor][data-name=\"NAME\"]')";
/// All messages, each as a [`Shown`].
const MESSAGES: &str = "[...document.querySelectorAll('[data-testid=message]')].map(m => \
    ({ seq: m.dataset.seq, state: m.dataset.state, text: m.querySelector('.text').textContent }))";

/// A message as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Shown {
    /// Empty until the hub has given it a place.
    pub seq: String,
    /// `pending`, `delivered`, `failed`.
    pub state: String,
    pub text: String,
}

/// What [`WATCH`] came back with: `value` if it came true, else what was there instead.
#[derive(Deserialize)]
struct Watched {
    value: Option<Value>,
    #[serde(default)]
    problem: String,
    #[serde(default)]
    page: String,
}

impl Page {
    /// The value of an expression on the page.
    pub async fn ask(&self, expression: &str) -> Value {
        self.turn_to().await;
        let answer = self.browser.session.execute(format!("return {expression}"), Vec::new()).await;
        answer.unwrap_or_else(|error| panic!("{expression}: {error}")).json().clone()
    }

    /// Waits until an expression is true on the page; an error, as of an element that is not there yet, is not.
    pub async fn until(&self, what: &str, expression: &str) -> Value {
        self.turn_to().await;
        let script = format!("const look = () => {expression};{WATCH}");
        let patience = json!(PATIENCE.as_millis() as u64);
        let watched = self.browser.session.execute_async(script, vec![patience]).await;
        let watched: Watched = watched.unwrap_or_else(|error| panic!("{what}: {error}")).convert().expect("an answer");
        match watched {
            Watched { value: Some(value), .. } => value,
            Watched { problem, page, .. } => {
                self.screenshot("failed").await;
                let seen = format!("{problem}\n--- the page ---\n{page}\n---");
                panic!("within {PATIENCE:?} the page did not show that {what}\n{expression}\n{seen}");
            }
        }
    }

    /// Waits for a state of the connection.
    pub async fn until_connection(&self, state: &str) {
        let pill = "document.getElementById('connection').dataset.state";
        self.until(&format!("the connection is {state}"), &format!("{pill} === '{state}'")).await;
    }

    /// Waits until exactly these people are here, in this order, as the page describes them: `Ada, 2 tabs`.
    pub async fn until_people(&self, people: &[&str]) {
        let people = json!(people).to_string();
        self.until(&format!("{people} are here"), &format!("JSON.stringify({PEOPLE}) === {}", json!(people))).await;
    }

    /// Begins to write down who the page shows, at every change.
    pub async fn record_people(&self) {
        let record = "() => window.recorded.push(look())";
        let script = format!(
            "(look => {{ window.recorded = [look()];
                new MutationObserver({record}).observe(document.getElementById('people'),
                    {{ subtree: true, childList: true, attributes: true, characterData: true }}); }})(() => {PEOPLE})"
        );
        self.ask(&script).await;
    }

    /// What was written down since.
    pub async fn recorded_people(&self) -> Vec<Vec<String>> {
        Vec::deserialize(self.ask("window.recorded").await).expect("people")
    }

    /// Waits until the line above the composer says this.
    pub async fn until_typing(&self, text: &str) {
        let line = "document.getElementById('typing').textContent";
        self.until(&format!("the typing line is {text:?}"), &format!("{line} === {}", json!(text))).await;
    }

    /// Waits until a person's cursor stands near a place on the board.
    pub async fn until_cursor(&self, name: &str, x: f64, y: f64) {
        let near = |axis: &str, to: f64| format!("Math.abs({CURSOR}.dataset.{axis} - {to}) < 0.01");
        let expression = format!("{} && {}", near("x", x), near("y", y)).replace("NAME", name);
        self.until(&format!("{name}'s cursor is at {x} {y}"), &expression).await;
    }

    /// Waits until a person has no cursor on the board.
    pub async fn until_no_cursor(&self, name: &str) {
        self.until(&format!("{name} has no cursor"), &format!("!{CURSOR}").replace("NAME", name)).await;
    }

    /// Waits until the last messages are these.
    pub async fn until_last(&self, state: &str, texts: &[&str]) {
        let last = format!("{MESSAGES}.slice(-{})", texts.len());
        let shown = json!(texts.iter().map(|text| [state, text]).collect::<Vec<_>>()).to_string();
        let expression = format!("JSON.stringify({last}.map(m => [m.state, m.text])) === {}", json!(shown));
        self.until(&format!("{texts:?} are {state}"), &expression).await;
    }

    /// All messages that the page holds.
    pub async fn messages(&self) -> Vec<Shown> {
        Vec::deserialize(self.ask(MESSAGES).await).expect("messages")
    }

    /// Keeps a picture under `target/screenshots/`.
    pub async fn screenshot(&self, name: &str) {
        self.turn_to().await;
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(format!("{name}.png"));
        self.browser.session.screenshot(&file).await.expect("a picture");
    }
}
